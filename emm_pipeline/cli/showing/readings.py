"""Print readings and poll results as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emm_pipeline.cli.local_time import shown_time, zone_name
from emm_pipeline.cli.meter_names import named
from emm_pipeline.cli.showing.sentences import say_grouped
from emm_pipeline.cli.showing.tables import print_table, shown
from emm_pipeline.stores.texts import text_or_none

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

    from emm_pipeline.polling.results import PollResult


def print_readings(readings: pd.DataFrame) -> None:
    """Print points with meter, measurement, value, unit and time."""
    headers = ("meter", "description", "measurement", "value", "unit", f"time ({zone_name()})")
    rows = (
        (
            *(reading["id"], reading["description"], reading["measurement"]),
            *(shown(reading["value"]), reading["unit"], shown_time(reading["time"])),
        )
        for reading in records_of(readings)
    )
    print_table(headers, rows, right=("value",), below=("description",))


def records_of(readings: pd.DataFrame) -> list[dict[str, Any]]:
    """Return points as records with the frame's columns; missing texts are None."""
    texts = ("description", "measurement", "unit")
    records: list[dict[str, Any]] = readings.to_dict("records")  # type: ignore[assignment]
    return [row | {name: text_or_none(row[name]) for name in texts} for row in records]


def print_findings(results: Iterable[PollResult]) -> None:
    """Print the meters that failed, the registers that did not deliver, and what was left out, each cause once."""
    results = list(results)
    say_grouped("failed", ((_named(each), _shared(each, each.reason)) for each in results if not each.ok))
    say_grouped("degraded", ((_named(each), line) for each in results for line in _issues(each)))
    say_grouped("left out", ((_named(each), _shared(each, notice)) for each in results for notice in each.notices))


def _named(result: PollResult) -> str:
    return named({"id": result.id, "description": result.description})


def _shared(result: PollResult, text: str | None) -> str:
    """Return a reason without the meter's unit id, so that it is equal for meters that fail for the same cause."""
    return (text or "no reason is known").replace(f" unit {result.unit_id}:", ":")


def _issues(result: PollResult) -> list[str]:
    """Return a line for each reason for which registers did not deliver, with the measurements."""
    names: dict[str, list[str]] = {}
    for issue in result.issues:
        names.setdefault(issue.reason, []).append(issue.measurement)
    return [f"{', '.join(measurements)}: {reason}" for reason, measurements in names.items()]
