"""Find the settings of a running demo, and say where a command runs if the settings are those of the stack."""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING

from dotenv import dotenv_values

from emm_pipeline.cli.demo.place import default_data_dir, env_file_in, is_running_in
from emm_pipeline.cli.output import note
from emm_pipeline.errors import ConfigDatabaseError
from emm_pipeline.settings import ENV_FILES

if TYPE_CHECKING:
    from pathlib import Path

HOST = "POSTGRES_HOST"
_EXAMPLE, *_OWN = ENV_FILES


def running_demo() -> tuple[Path, ...]:
    """Return the settings file of the demo that is running, if no setting names another database."""
    if _database_is_named():
        return ()
    folder = default_data_dir()
    file = env_file_in(folder)
    if not file.is_file() or not is_running_in(folder):
        return ()
    if sys.stderr is not None and sys.stderr.isatty():
        note(f"using the database of the running demo ({file})")
    return (file,)


def _database_is_named() -> bool:
    """Whether the environment or the user's own settings say where the database is."""
    return bool(os.environ.get(HOST)) or any(_value_in(file) for file in _OWN)


def _value_in(file: Path) -> str | None:
    return dotenv_values(file, encoding="utf-8").get(HOST) if file.is_file() else None


def hint_about(error: Exception) -> str | None:
    """Return what to do if a command needs the stack's database, which can be reached in the stack only."""
    if not isinstance(error, ConfigDatabaseError) or _database_is_named():
        return None
    host = _value_in(_EXAMPLE)
    if not host or f'"{host}"' not in str(error):
        return None
    command = shlex.join(["emm", *sys.argv[1:]])
    return (
        f"{host} is the stack's database, which can be reached only there. In the stack: docker compose exec code "
        f"{command}\nWithout Docker: start the demo (make demo), and repeat the command in another terminal."
    )
