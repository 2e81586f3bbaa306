"""Tables for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from emm_pipeline.stores.texts import text_or_none

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

    from emm_pipeline.polling.results import PollResult

LARGEST_COUNTER = 1e15
"""Up to here a float holds every whole number, and a table has room for it."""


def console() -> Console:
    """Return the console for stdout; piped output is not cut at 80 columns."""
    out = Console()
    return out if out.is_terminal else Console(width=160)


def print_readings(readings: pd.DataFrame) -> None:
    """Print points: meter, measurement, value, unit, and when it was read (UTC)."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("meter", "description", "measurement"):
        table.add_column(name)
    table.add_column("value", justify="right")
    for name in ("unit", "time (UTC)"):
        table.add_column(name)
    for reading in records_of(readings):
        cells = (
            str(reading["id"]),
            reading["description"],
            reading["measurement"],
            shown(reading["value"]),
            reading["unit"],
        )
        table.add_row(*(escape(str(cell or "")) for cell in cells), f"{reading['time']:%Y-%m-%d %H:%M:%S}")
    console().print(table)


def records_of(readings: pd.DataFrame) -> list[dict[str, Any]]:
    """Return points as records with the frame's columns; a text that is missing is None."""
    texts = ("description", "measurement", "unit")
    records: list[dict[str, Any]] = readings.to_dict("records")  # type: ignore[assignment]
    return [row | {name: text_or_none(row[name]) for name in texts} for row in records]


def shown(value: float) -> str:
    """Return a value for people: counters with all their digits, others with the seven that a 32-bit float has."""
    return f"{value:.0f}" if value.is_integer() and abs(value) < LARGEST_COUNTER else f"{value:.7g}"


def print_failed(outcomes: Iterable[PollResult]) -> None:
    """Print the meters that failed: which, where, and why."""
    table = Table(box=None, header_style="bold red", pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("failed", "description", "host:port", "unit"):
        table.add_column(name)
    table.add_column("reason", overflow="fold")
    for outcome in outcomes:
        unit = "" if outcome.unit_id is None else str(outcome.unit_id)
        cells = (str(outcome.id), outcome.description or "", outcome.address, unit, outcome.reason or "")
        table.add_row(*(escape(cell) for cell in cells))
    console().print(table)


def print_notices(outcomes: Iterable[PollResult]) -> None:
    """Print what units refuse of what they were asked for; nothing if there is none."""
    table = Table(box=None, header_style="bold yellow", pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("notice", "host:port", "unit"):
        table.add_column(name)
    table.add_column("what the unit refuses", overflow="fold")
    for outcome in outcomes:
        for notice in outcome.notices:
            table.add_row(*(escape(cell) for cell in (str(outcome.id), outcome.address, str(outcome.unit_id), notice)))
    if table.row_count:
        console().print(table)
