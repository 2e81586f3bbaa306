"""Print readings and poll results as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emm_pipeline.cli.output import shown_time
from emm_pipeline.cli.showing.tables import print_table, shown
from emm_pipeline.stores.texts import text_or_none

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

    from emm_pipeline.polling.results import PollResult


def print_readings(readings: pd.DataFrame) -> None:
    """Print points with meter, measurement, value, unit and time (UTC)."""
    headers = ("meter", "description", "measurement", "value", "unit", "time (UTC)")
    rows = (
        (
            *(reading["id"], reading["description"], reading["measurement"]),
            *(shown(reading["value"]), reading["unit"], shown_time(reading["time"])),
        )
        for reading in records_of(readings)
    )
    print_table(headers, rows, right=("value",))


def records_of(readings: pd.DataFrame) -> list[dict[str, Any]]:
    """Return points as records with the frame's columns; missing texts are None."""
    texts = ("description", "measurement", "unit")
    records: list[dict[str, Any]] = readings.to_dict("records")  # type: ignore[assignment]
    return [row | {name: text_or_none(row[name]) for name in texts} for row in records]


def print_failed(results: Iterable[PollResult]) -> None:
    """Print each meter that failed, with its address and the reason."""
    headers = ("failed", "description", "host:port", "unit", "reason")
    rows = ((each.id, each.description, each.address, each.unit_id, each.reason) for each in results)
    print_table(headers, rows, style="bold red")


def print_issues(results: Iterable[PollResult]) -> None:
    """Print the registers that did not deliver what they should; nothing if there are none."""
    headers = ("degraded", "description", "measurement", "issue", "reason")
    rows = [
        (each.id, each.description, issue.measurement, issue.kind.value, issue.reason)
        for each in results
        for issue in each.issues
    ]
    if rows:
        print_table(headers, rows, style="bold yellow")


def print_notices(results: Iterable[PollResult]) -> None:
    """Print the registers that units do not support, and values that were left out; nothing if there are none."""
    headers = ("notice", "host:port", "unit", "registers or values left out")
    rows = [(each.id, each.address, each.unit_id, notice) for each in results for notice in each.notices]
    if rows:
        print_table(headers, rows, style="bold yellow")
