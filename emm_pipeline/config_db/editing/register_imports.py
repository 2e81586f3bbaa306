"""Import registers from a CSV file into the database: all of them, or none if a line is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from emm_pipeline.config_db.editing.register_files import plan_import, read_register_file
from emm_pipeline.config_db.editing.register_rows import series_of
from emm_pipeline.config_db.editing.type_tables import editing_registers, load_type_rows, write_registers
from emm_pipeline.config_db.loader import rows_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine

    from emm_pipeline.config_db.csv_tables import CsvIssue
    from emm_pipeline.config_db.editing.register_files import Import


@dataclass(frozen=True, slots=True)
class RegisterImport:
    """The changes that a file of registers makes, or has made: its types, the plan, and the issues of its lines."""

    types: Sequence[str]
    plan: Import
    issues: Sequence[CsvIssue]
    written: bool

    @property
    def counts(self) -> dict[str, int]:
        """The number of registers that are added, changed, removed and unchanged."""
        changed = len({series_of(row) for row in self.plan.add} & {series_of(row) for row in self.plan.remove})
        return {
            "added": len(self.plan.add) - changed,
            "changed": changed,
            "removed": len(self.plan.remove) - changed,
            "unchanged": self.plan.unchanged,
        }

    def as_record(self) -> dict[str, Any]:
        """Return the counts as types that JSON has."""
        return {"types": self.types, **self.counts, "written": self.written}


def import_registers(engine: Engine, content: bytes, *, replace: bool = False, dry_run: bool = False) -> RegisterImport:
    """Write the registers of a file, unless it has issues.

    Args:
        engine: The configuration database.
        content: The file's bytes.
        replace: Also remove registers that the file's types have only in the database.
        dry_run: Write nothing.

    Raises:
        ConfigDatabaseError: The database cannot be reached, or rejects a row. Nothing was written.
    """
    with editing_registers(engine) as connection:
        parsed = read_register_file(content, rows_of(connection, "meter_types"))
        plan = plan_import(load_type_rows(connection), [row for _, row in parsed.rows], replace=replace)
        written = not (dry_run or parsed.issues)
        if written:
            write_registers(connection, plan.remove, plan.add)
    issues = sorted(parsed.issues, key=lambda issue: issue.line or 0)
    return RegisterImport(parsed.types, plan, issues, written)
