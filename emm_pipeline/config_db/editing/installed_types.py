"""What `emm types install` has put into the database: table `installed_types`, written by nobody else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sqlalchemy import text

from emm_pipeline.config_db.editing.register_rows import REGISTER_COLUMNS, TypeRows

if TYPE_CHECKING:
    from sqlalchemy import Connection

_LOAD = text("SELECT type, content FROM installed_types")
_SAVE = text("""
    INSERT INTO installed_types (type, content, installed_at) VALUES (:type, :content, now())
    ON CONFLICT (type) DO UPDATE SET content = excluded.content, installed_at = excluded.installed_at
""")


def load_installed(connection: Connection) -> dict[str, TypeRows]:
    """Return by type what the last installation wrote."""
    return {row.type: _parse(row.content) for row in connection.execute(_LOAD)}


def save_installed(connection: Connection, type_name: str, rows: TypeRows) -> None:
    """Keep what an installation has written."""
    content = json.dumps({"registers": sorted(map(list, rows.registers), key=str), "settings": rows.settings})
    connection.execute(_SAVE, {"type": type_name, "content": content})


def _parse(content: str) -> TypeRows:
    data = json.loads(content)
    settings = data["settings"]
    # A version of EMM that had fewer columns wrote shorter rows: later ones are null.
    registers = (tuple(row) + (None,) * (len(REGISTER_COLUMNS) - len(row)) for row in data["registers"])
    return TypeRows(frozenset(registers), None if settings is None else tuple(settings))
