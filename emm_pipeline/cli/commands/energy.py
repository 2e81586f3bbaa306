"""`emm energy`: the energy and cost of hours, days and months."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click

from emm_pipeline.cli.meter_names import ids_of
from emm_pipeline.cli.output import note, print_json
from emm_pipeline.cli.row_files import open_rows
from emm_pipeline.cli.showing.tables import print_table
from emm_pipeline.cli.times import Span, span_of, span_options
from emm_pipeline.config_db.energy_rows import load_energy_rows
from emm_pipeline.energy.periods import Period
from emm_pipeline.energy.shown import RECORD_TYPES, energy_records
from emm_pipeline.opening import open_config_database, open_history
from emm_pipeline.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from emm_pipeline.settings import Settings

_DEFAULTS = {Period.HOUR: timedelta(days=1), Period.DAY: timedelta(days=7), Period.MONTH: timedelta(days=365)}
_COST = ("cost", "currency")
_SHOWN = {Period.HOUR: "%Y-%m-%d %H:%M", Period.DAY: "%Y-%m-%d", Period.MONTH: "%Y-%m"}


@click.command("energy")
@click.argument("meter", nargs=-1)
@click.option("--by", type=click.Choice([*Period]), default=Period.DAY, show_default=True, help="Length of intervals.")
@span_options
@click.option("--cost", "with_cost", is_flag=True, help="Also show the cost by the meters' tariffs.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option("--parquet", type=click.Path(path_type=Path, dir_okay=False), help="Write a Parquet file.")
@click.pass_obj
def energy(
    env_files: tuple[Path, ...],
    meter: tuple[str, ...],
    by: str,
    begin: date | None,
    end: date | None,
    with_cost: bool,
    as_json: bool,
    as_csv: bool,
    parquet: Path | None,
) -> None:
    """Show the energy of meters by hour, day or month, with its quality. METER is an id or description; default: all.

    The pipeline computes an hour within two minutes of its end. Coverage is the part of the time in which the meter was
    read; docs/energy.md explains the flags. A month's cost contains the base price.

    Example: emm energy --by month --from 2026-01-01 --cost
    """
    if sum(map(bool, (as_json, as_csv, parquet))) > 1:
        raise click.UsageError("give one of --json, --csv and --parquet")
    settings, period = load_settings(*env_files), Period(by)
    span = span_of(begin, end, ZoneInfo(settings.tz), _DEFAULTS[period])
    rows = _load(settings, meter, period, span)
    types = {name: kind for name, kind in RECORD_TYPES.items() if with_cost or name not in _COST}
    if as_json:
        print_json([{name: row[name] for name in types} for row in rows])
    elif as_csv or parquet:
        with open_rows("parquet" if parquet else "csv", parquet, types) as file:
            file.write({name: [row[name] for row in rows] for name in types})
    else:
        _print(rows, period, with_cost=with_cost)
    if not rows:
        note(f"no energy by {by} in this time: the assets energy_… in Dagster compute it; docs/energy.md explains how")


def _load(settings: Settings, names: Sequence[str], period: Period, span: Span) -> list[dict[str, Any]]:
    """Return the rows by meter, measurement and time, with times in TZ."""
    zone = ZoneInfo(settings.tz)
    with open_config_database(settings) as engine:
        ids = ids_of(engine, names) if names else None
        configured = load_energy_rows(engine)
    with open_history(settings) as store:
        return energy_records(store.read_energy(period, *span, ids), configured, zone)


def _print(rows: Sequence[Mapping[str, Any]], period: Period, *, with_cost: bool) -> None:
    headers = [period.value, "id", "description", "measurement", "energy", "unit", "coverage", "flags"]
    cells = [
        [
            f"{datetime.fromisoformat(row['time']):{_SHOWN[period]}}",
            row["id"],
            row["description"],
            row["measurement"],
            f"{row['energy']:.3f}",
            row["unit"],
            f"{row['coverage']:.0f} %",
            (row["flags"] or "").replace(",", ", "),
            *([_shown_cost(row)] if with_cost else []),
        ]
        for row in rows
    ]
    right = ("id", "energy", "coverage", "cost")
    print_table([*headers, *(["cost"] if with_cost else [])], cells, right=right)


def _shown_cost(row: Mapping[str, Any]) -> str:
    return "" if row["cost"] is None else f"{row['cost']:.2f} {row['currency'] or ''}".rstrip()
