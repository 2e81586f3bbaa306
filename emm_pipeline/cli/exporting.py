"""Export rows of types as a CSV file, to a file or to stdout."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from emm_pipeline.cli.output import note
from emm_pipeline.config_db.editing.type_tables import load_types_of
from emm_pipeline.errors import ConfigurationError, EmmError
from emm_pipeline.opening import open_config_database
from emm_pipeline.settings import load_settings
from emm_pipeline.suggesting import suggestion

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from emm_pipeline.config_db.editing.register_rows import TypeRows


def load_named_types(env_files: Sequence[Path], names: Sequence[str]) -> list[TypeRows]:
    """Return the rows of the types with these names; without names, those of all types.

    Raises:
        ConfigurationError: the database has no type of a name.
    """
    with open_config_database(load_settings(*env_files)) as engine:
        database = load_types_of(engine)
    missing = [name for name in names if name not in database]
    if missing:
        raise ConfigurationError(
            f"the database has no type {', '.join(map(repr, missing))}; emm types list shows them"
            f"{suggestion(missing[0], database)}"
        )
    return [database[name] for name in names or database]


def write_export(text: str, output: Path | None, content: str) -> None:
    """Write a file's text to `output`, and say what it contains; without `output`, print the text.

    Raises:
        EmmError: the file cannot be written.
    """
    if output is None:
        sys.stdout.write(text)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as err:
        raise EmmError(f"{output} cannot be written: {err.strerror}") from None
    note(f"{content} written to {output}")
