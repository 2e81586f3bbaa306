"""Check the rows of the configuration database: valid rows become the fleet, others become configuration issues.

Pure: rows are mappings from column to value, as any database driver returns them. A row with an issue does not affect
other rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emm_pipeline.config_db.validation.combined import check_combined
from emm_pipeline.config_db.validation.meter_types import check_types
from emm_pipeline.config_db.validation.meters import check_meters
from emm_pipeline.config_db.validation.registers import check_registers
from emm_pipeline.fleet import ConfigurationIssue, Fleet

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from emm_pipeline.config_db.validation.row_reader import Row


def check_rows(
    meter_rows: Iterable[Row],
    register_rows: Iterable[Row],
    type_rows: Iterable[Row],
    combined_rows: Iterable[Row] = (),
    other_types: Collection[str] = (),
) -> Fleet:
    """Check all rows and build the fleet of the valid ones.

    Args:
        meter_rows: Rows of `energy_meters`. Columns after the first six may be absent.
        register_rows: Rows of `registers`. Columns after the first eight may be absent.
        type_rows: Rows of `meter_types`.
        combined_rows: Rows of `combined_measurements`.
        other_types: Names of types in the database whose rows are not given; they are suggested for an unknown name.

    Returns:
        The fleet, with meters ordered by id and registers by function code and address. The order of the rows affects
        neither the fleet nor the order of its issues. Disabled meters are not in the fleet and cause no issues.
    """
    issues: list[ConfigurationIssue] = []
    types = check_registers(register_rows, check_types(type_rows, issues), issues)
    types = check_combined(combined_rows, types, issues)
    meters = check_meters(meter_rows, types, issues, other_types)
    return Fleet(tuple(meters), types, tuple(sorted(issues, key=_issue_order)))


def _issue_order(issue: ConfigurationIssue) -> tuple[str, bool, int, str, str, str]:
    meter_id = issue.meter_id
    return issue.table, meter_id is None, meter_id or 0, issue.row, issue.column, issue.reason
