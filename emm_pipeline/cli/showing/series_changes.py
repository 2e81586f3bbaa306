"""Warn of series that an installation ends, starts or continues with other values.

A series is what a store and a dashboard know by measurement name and unit. If its register, scale or sign changes, one
series has old and new values that do not mean the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emm_pipeline.config_db.editing.register_rows import REGISTER_COLUMNS, series_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from emm_pipeline.config_db.editing.installing import Installation
    from emm_pipeline.config_db.editing.register_rows import RegisterRow

_OTHER_VALUES = (
    *("register_address", "function_code", "data_type", "word_order", "byte_order", "scale", "scale_register"),
    *("value_offset", "mask", "absolute", "sign_register", "sign_mask", "high_register_address", "uses_factor"),
)
"""Columns that decide which value a series gets. Others, such as the value that means "no reading", only omit some."""


def series_changes(plan: Installation) -> Iterator[str]:
    """Yield a warning for each series of the database that an installation would end or change."""
    coming = {series_of(row) for row in plan.add}
    for row in plan.remove:
        if series_of(row) not in coming and _is_stored(row):
            yield f"the series {_shown(row)} ends"
    for before, after in plan.changed:
        differences = [name for name in _OTHER_VALUES if _cell(before, name) != _cell(after, name)]
        if differences and _is_stored(before):
            what = ", ".join(f"{name} {_cell(before, name)} -> {_cell(after, name)}" for name in differences)
            yield f"the series {_shown(after)} gets other values: {what}"
    sums = {row[1:3] for row in plan.combined_before}
    for name, unit in sorted(sums, key=str):
        before_parts, after_parts = (
            {row[3:] for row in rows if row[1:3] == (name, unit)} for rows in (plan.combined_before, plan.combined)
        )
        if not after_parts:
            yield f"the series {name} {unit or ''} ends".rstrip()
        elif before_parts != after_parts:
            yield f"the series {name} is computed in another way"


def _cell(row: RegisterRow, name: str) -> object:
    return row[REGISTER_COLUMNS.index(name)]


def _is_stored(row: RegisterRow) -> bool:
    return bool(_cell(row, "stored"))


def _shown(row: RegisterRow) -> str:
    unit = _cell(row, "data_unit")
    return f"{_cell(row, 'measurement_name')} [{unit}]" if unit else str(_cell(row, "measurement_name"))
