"""Write the commands in messages such that they run where they are printed.

Messages name commands as `emm meters list`. That runs only where `emm` is on the PATH. Elsewhere the person needs what
they have typed themselves, such as `.venv/bin/emm`, and in the stack `docker compose exec code emm` (EMM_COMMAND).
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from emm_pipeline.command_names import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "emm"
_COMMAND = re.compile(rf"(?<![\w/.-])(?<!code )(?<!check )emm(?= (?:{'|'.join(map(re.escape, COMMANDS))})\b)")
"""The name of the program before one of its commands, where a message does not have the whole prefix already."""

_prefix = NAME
_is_elsewhere = False


def use_prefix(env_files: Sequence[Path], command: str | None) -> None:
    """Use the prefix of this process.

    Args:
        env_files: The settings files that the person has named.
        command: EMM_COMMAND, how a person calls `emm` in the stack; otherwise it is called as this process was.
    """
    global _prefix, _is_elsewhere  # noqa: PLW0603 - a process runs one command
    _prefix = " ".join([command or _program(), *(f"--env-file {shlex.quote(str(file))}" for file in env_files)])
    _is_elsewhere = bool(command) and command != NAME


def _program() -> str:
    """Return how a person calls this program: by its name, or by the path that they have typed."""
    called = Path(sys.argv[0])
    if called.name != NAME:
        return NAME
    found = shutil.which(NAME)
    is_on_path = found is not None and Path(found).absolute() == called.absolute()
    return NAME if is_on_path else shlex.quote(str(called))


def is_elsewhere() -> bool:
    """Whether a person calls commands in another container than this process: in the stack."""
    return _is_elsewhere


def runnable(text: str) -> str:
    """Return a message in which each command has the prefix."""
    return text if _prefix == NAME else _COMMAND.sub(lambda _: _prefix, text)
