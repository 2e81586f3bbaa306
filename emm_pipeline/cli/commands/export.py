"""`emm export`: readings as CSV, JSON lines or Parquet."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import click

from emm_pipeline.cli.meter_names import ids_of
from emm_pipeline.cli.output import note
from emm_pipeline.cli.progress import progress
from emm_pipeline.cli.row_files import open_rows
from emm_pipeline.cli.times import Span, span_of, span_options
from emm_pipeline.opening import open_config_database, open_history
from emm_pipeline.settings import load_settings
from emm_pipeline.stores.history import Selection

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import date

    from emm_pipeline.stores.history import History, HistoryStore

_TYPES: Mapping[str, type] = {"time": str, "id": int, "measurement": str, "unit": str, "value": float}
_DAY_MS = 86_400_000


@click.command("export")
@click.argument("meter", nargs=-1)
@span_options
@click.option("--measurement", help="Only this measurement.")
@click.option("--csv", "as_csv", is_flag=True, help="CSV.  [default]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="File to write.  [default: stdout]")
@click.option("--parquet", type=click.Path(path_type=Path, dir_okay=False), help="Write a Parquet file.")
@click.pass_obj
def export(
    env_files: tuple[Path, ...],
    meter: tuple[str, ...],
    begin: date | None,
    end: date | None,
    measurement: str | None,
    as_csv: bool,
    as_json: bool,
    output: Path | None,
    parquet: Path | None,
) -> None:
    """Export readings as they were read. METER is an id or description; default: all meters, of the last day.

    Months of data need no more memory than a day: a day is read and written at a time.

    Example: emm export 1 --from 2026-01-01 --to 2026-01-31 --output january.csv
    """
    if sum(map(bool, (as_csv, as_json, parquet))) > 1:
        raise click.UsageError("give one of --csv, --json and --parquet")
    if parquet and output:
        raise click.UsageError("give either --output or --parquet, not both")
    settings = load_settings(*env_files)
    zone = ZoneInfo(settings.tz)
    span = span_of(begin, end, zone, timedelta(days=1))
    ids = None
    if meter:
        with open_config_database(settings) as engine:
            ids = tuple(sorted(ids_of(engine, meter)))
    kind, path = ("parquet", parquet) if parquet else ("json" if as_json else "csv", output)
    count = 0
    days = -(-(span.end - span.begin) // _DAY_MS)
    with (
        open_history(settings) as store,
        open_rows(kind, path, _TYPES) as file,
        progress("exporting, days", days, remaining=True) as on_day,
    ):
        for part in _days(store, Selection(measurement=measurement, ids=ids), span):
            for history in part:
                count += len(history)
                if len(history):
                    file.write(_columns(history, zone))
            on_day()
    if path:
        note(f"{count} readings written to {path}")


def _days(store: HistoryStore, selection: Selection, span: Span) -> Iterator[Iterator[History]]:
    """Yield the readings of each day, in parts."""
    for begin in range(span.begin, span.end, _DAY_MS):
        yield store.export(selection, begin, min(begin + _DAY_MS, span.end))


def _columns(history: History, zone: ZoneInfo) -> dict[str, list[object]]:
    series = [history.series[code] for code in history.code.tolist()]
    return {
        "time": [
            datetime.fromtimestamp(each / 1000, UTC).astimezone(zone).isoformat() for each in history.time.tolist()
        ],
        "id": [each.id for each in series],
        "measurement": [each.measurement for each in series],
        "unit": [each.unit for each in series],
        "value": history.value.tolist(),
    }
