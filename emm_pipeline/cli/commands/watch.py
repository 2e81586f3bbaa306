"""`emm watch`: show a meter's values as they change, until Ctrl-C."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import click
from rich.columns import Columns
from rich.console import Group
from rich.live import Live
from rich.text import Text

from emm_pipeline.cli import interruptible
from emm_pipeline.cli.gateways import KnownFleet, known_fleet
from emm_pipeline.cli.meter_names import ids_of
from emm_pipeline.cli.output import note, print_json, printable, say
from emm_pipeline.cli.showing.tables import console, make_table, shown, styled
from emm_pipeline.errors import ConfigurationError, TransientError
from emm_pipeline.modbus.decoding import decode_readings
from emm_pipeline.modbus.fleet_reading import Conditions, read_meters
from emm_pipeline.polling.delivery_check import register_issues
from emm_pipeline.polling.plan import plan_meters
from emm_pipeline.status import State, Status, decide_read

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from rich.console import Console
    from rich.table import Table

    from emm_pipeline.fleet import EnergyMeter, MeterType
    from emm_pipeline.readings import UnsupportedRange

LONGEST_READING_S = 60.0
"""Seconds after which a reading is abandoned, whatever the interval."""

FEWEST_ROWS = 10
ROWS_AROUND = 4
"""Lines of the screen that are not values: title, headings, the last line, and the cursor's line."""


@dataclass(frozen=True, slots=True)
class Values:
    """One meter reading: values by measurement, in the order of the type's registers, and the error if some failed."""

    time: datetime
    values: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None
    status: Status = field(default_factory=lambda: Status(State.OK))


class Show(Protocol):
    """Shows a reading; `before` is the previous reading, or None the first time."""

    def __call__(self, now: Values, before: Values | None) -> None:
        """Show the reading."""


@click.command("watch")
@click.argument("meter", metavar="METER")
@click.option("--interval", type=click.FloatRange(0.2, 3600), default=5.0, show_default=True, help="Seconds.")
@click.option("--count", type=click.IntRange(1), help="Number of readings.  [default: until Ctrl-C]")
@click.option("--json", "json_wanted", is_flag=True, help="Print one line of JSON per reading.")
@click.pass_obj
def watch(env_files: tuple[Path, ...], meter: str, interval: float, count: int | None, json_wanted: bool) -> None:
    """Show a meter's values as they change; METER is an id or a description. Nothing is stored.

    Values that changed since the previous reading are marked. If the output is not a terminal, one line per value is
    printed. Between two readings, polls can use the gateway. Ctrl-C ends the command with exit code 0. With --count,
    it exits with 1 if the last reading failed.

    Example: emm watch 1 --interval 2
    """
    with known_fleet(env_files) as known:
        chosen, meter_type = _choose(known, meter)
        watched = _Watched(known, chosen, meter_type, interval, count)
        out = console()
        try:
            if json_wanted:
                last = watched.repeat(lambda now, _: _print_json(chosen, now))
            elif out.is_terminal:
                with Live(console=out, auto_refresh=False) as live:
                    last = watched.repeat(
                        lambda now, before: live.update(_screen(out, chosen, meter_type, now, before), refresh=True)
                    )
            else:
                last = watched.repeat(lambda now, _: _print_lines(chosen, meter_type, now))
        except KeyboardInterrupt:
            return
    if last.error:
        raise SystemExit(1)


def _choose(known: KnownFleet, name: str) -> tuple[EnergyMeter, MeterType]:
    if known.engine is None:
        raise TransientError(known.reason or "")
    plan = plan_meters(known.fleet, ids_of(known.engine, (name,)))
    if reasons := list(plan.unreadable.values()):
        raise ConfigurationError(f"meter {name}: {reasons[0]}")
    (meter,) = plan.meters
    return meter, plan.types[meter.type]


@dataclass(slots=True)
class _Watched:
    """A meter that is read repeatedly."""

    known: KnownFleet
    meter: EnergyMeter
    meter_type: MeterType
    interval_s: float
    count: int | None
    unsupported: tuple[UnsupportedRange, ...] = ()
    """Unsupported registers, which the next requests omit."""
    models: Mapping[int, int] | None = None
    """Addresses of its SunSpec models at the last reading."""

    def repeat(self, show: Show) -> Values:
        """Read and show repeatedly; return the last reading. One that exceeds the interval delays the next."""
        before: Values | None = None
        done = 0
        while True:
            due = time.monotonic() + self.interval_s
            now = interruptible.run(self._read())
            show(now, before)
            before = now
            done += 1
            if done == self.count:
                return now
            time.sleep(max(0.0, due - time.monotonic()))

    async def _read(self) -> Values:
        deadline = time.monotonic() + LONGEST_READING_S
        async with self.known.locks() as locks:
            models = {} if self.models is None else {self.meter.id: self.models}
            conditions = Conditions(locks=locks, unsupported={self.meter.id: self.unsupported}, models=models)
            types = {self.meter_type.name: self.meter_type}
            (sample,) = await read_meters([self.meter], types, deadline=deadline, conditions=conditions)
        self.unsupported = sample.unsupported
        self.models = sample.models or self.models
        readings = decode_readings([sample], types)
        values = dict(zip(readings["measurement"], readings["value"], strict=True))
        if sample.failure:
            return Values(sample.time, values, sample.failure.reason, Status(State.FAILING, sample.failure.reason))
        issues = register_issues([sample], readings, types, {self.meter.id: self.known.accepted(self.meter.id)})
        return Values(sample.time, values, None, decide_read(issues.get(self.meter.id, ())))


def _screen(out: Console, meter: EnergyMeter, meter_type: MeterType, now: Values, before: Values | None) -> Group:
    """Return the screen: as many tables side by side as needed to show all registers without scrolling."""
    rows = max(FEWEST_ROWS, out.height - ROWS_AROUND)
    series = list(dict(meter_type.stored_series).items())
    parts = [series[start : start + rows] for start in range(0, len(series), rows)]
    return Group(
        Text.assemble((printable(meter), "bold"), f", {now.time:%H:%M:%S} UTC, {now.status.state}"),
        Columns([_table(part, now, before) for part in parts], padding=(0, 4)),
        *([styled(now.status.reason, "yellow")] if now.status.reason and not now.error else []),
        styled(now.error, "bold red") if now.error else styled("▲▼ changed; Ctrl-C ends it", "dim"),
    )


def _table(series: Sequence[tuple[str, str | None]], now: Values, before: Values | None) -> Table:
    rows = []
    for name, unit in series:
        value = now.values.get(name)
        earlier = before.values.get(name) if before else None
        mark, style = "", ""
        if value is not None and earlier is not None and value != earlier:
            mark, style = ("▲" if value > earlier else "▼"), "bold green"
        shown_value = styled("no value", "dim") if value is None else styled(shown(value), style)
        rows.append((styled(name, style), shown_value, styled(mark, style), styled(unit or "", style)))
    return make_table(("measurement", "value", "", "unit"), rows, right=("value",))


def _print_lines(meter: EnergyMeter, meter_type: MeterType, now: Values) -> None:
    units = dict(meter_type.stored_series)
    for name, value in now.values.items():
        say(f"{now.time:%H:%M:%S}  meter {meter.id}  {name} = {shown(value)} {units[name] or ''}".rstrip())
    if now.status.reason and not now.error:
        note(f"{now.time:%H:%M:%S}  meter {meter.id}  {now.status.state}: {now.status.reason}")
    if now.error:
        note(f"{now.time:%H:%M:%S}  meter {meter.id}  {now.error}")


def _print_json(meter: EnergyMeter, now: Values) -> None:
    status = {"status": now.status.state, "reason": now.status.reason}
    print_json({"time": now.time, "id": meter.id, "values": dict(now.values), "error": now.error} | status, indent=None)
