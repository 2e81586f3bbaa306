"""A register as a line that can be copied: an INSERT for the table `registers`, and a line of CSV."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emm_pipeline.cli.output import say
from emm_pipeline.config_db.editing.register_rows import DEFAULTS, NEEDED_COLUMNS, REGISTER_COLUMNS

if TYPE_CHECKING:
    from emm_pipeline.fleet import Register

TYPE_PLACEHOLDER = "my_type"


def print_row(register: Register) -> None:
    """Print the row of a register whose names are placeholders."""
    say("\nWrite this into a file, my_type.csv, and replace the names that begin with my_:\n")
    say(f"  {csv_header(register)}\n  {csv_line(register)}\n")
    say(f"Then: emm registers import my_type.csv\nThe same in SQL:\n\n  {insert_line(register)}\n")


def insert_line(register: Register) -> str:
    """Return the statement that adds the register."""
    further = list(further_columns(register))
    # Without further columns than the scale, the values are in the order of the table.
    columns = "" if further in ([], ["scale"]) else f" ({csv_header(register).replace(',', ', ')})"
    unit = "NULL" if register.data_unit is None else f"'{register.data_unit}'"
    names = f"'{TYPE_PLACEHOLDER}', {register.register_address}, '{register.measurement_name}', {unit}"
    return f"INSERT INTO registers{columns} VALUES ({names}, {', '.join(_numbers(register).values())});"  # noqa: S608 - a line for a person


def csv_header(register: Register) -> str:
    """Return the first line of a CSV file that contains such a line."""
    return ",".join((*NEEDED_COLUMNS[:4], *_numbers(register)))


def csv_line(register: Register) -> str:
    """Return the register as a line of CSV, in the order of `csv_header`."""
    names = [TYPE_PLACEHOLDER, str(register.register_address), register.measurement_name, register.data_unit or ""]
    return ",".join([*names, *_numbers(register).values()])


def further_columns(register: Register) -> dict[str, str]:
    """Return the columns after the first eight that are in use, as they are written in SQL and in files."""
    columns = {name: getattr(register, name) for name in REGISTER_COLUMNS[len(NEEDED_COLUMNS) :]}
    used = {name: value for name, value in columns.items() if value != DEFAULTS.get(name)}
    return {name: _written(value) for name, value in used.items()}


def _numbers(register: Register) -> dict[str, str]:
    """Return the columns after the unit; those after the first eight only if they are in use."""
    codes = {name: f"{getattr(register, name):d}" for name in NEEDED_COLUMNS[4:]}
    return codes | further_columns(register)


def _written(value: float) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
