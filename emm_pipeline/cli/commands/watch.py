"""`emm watch`: show the values of meters as they change, until Ctrl-C."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from emm_pipeline.cli import interruptible
from emm_pipeline.cli.gateways import KnownFleet, known_fleet
from emm_pipeline.cli.local_time import time_of_day
from emm_pipeline.cli.meter_names import ids_of
from emm_pipeline.cli.output import note, print_json, say
from emm_pipeline.cli.showing.tables import console, shown
from emm_pipeline.cli.watching import Watched
from emm_pipeline.errors import ConfigurationError, TransientError
from emm_pipeline.polling.plan import plan_meters

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from emm_pipeline.cli.watching import Values


@click.command("watch")
@click.argument("meters", nargs=-1, metavar="[METER …]")
@click.option("--interval", type=click.FloatRange(0.2, 3600), default=5.0, show_default=True, help="Seconds.")
@click.option("--count", type=click.IntRange(1), help="Number of readings.  [default: until Ctrl-C]")
@click.option("--json", "json_wanted", is_flag=True, help="Print one line of JSON per reading.")
@click.pass_obj
def watch(
    env_files: tuple[Path, ...], meters: tuple[str, ...], interval: float, count: int | None, json_wanted: bool
) -> None:
    """Show values as they change. METER is an id or a description; default: all meters. Nothing is stored.

    On a terminal, the values are a table: the arrow keys scroll, / filters it by words (a measurement, a meter, a
    unit), and q ends the command. Otherwise one line per value is printed. Between two readings, polls can use the
    gateways. Ctrl-C ends the command with exit code 0. With --count, it exits with 1 if a meter could not be read the
    last time.

    Example: emm watch 1 --interval 2
    """
    with known_fleet(env_files) as known:
        watched = _choose(known, meters, interval)
        try:
            if json_wanted:
                last = _repeat(watched, count, _print_json)
            elif console().is_terminal:
                from emm_pipeline.cli.showing.watch_app import WatchApp  # noqa: PLC0415 - Textual, on a terminal only

                app = WatchApp(watched, count)
                last = app.run() or []
                if app.error:
                    raise app.error
            else:
                last = _repeat(watched, count, lambda now: _print_lines(watched, now))
        except KeyboardInterrupt:
            return
    if count and any(each.error for each in last):
        raise SystemExit(1)


def _choose(known: KnownFleet, names: tuple[str, ...], interval_s: float) -> Watched:
    if known.engine is None:
        raise TransientError(known.reason or "")
    plan = plan_meters(known.fleet, ids_of(known.engine, names) if names else known.fleet.ids)
    for meter_id, reason in plan.unreadable.items():
        if len(names) == 1:
            raise ConfigurationError(f"meter {meter_id}: {reason}")
        note(f"meter {meter_id} is not shown: {reason}")
    if not plan.meters:
        raise ConfigurationError("there are no meters to watch: emm meters list shows why")
    return Watched(known, plan.meters, plan.types, interval_s)


def _repeat(watched: Watched, count: int | None, show: Callable[[Values], None]) -> list[Values]:
    """Read and show repeatedly; return the last readings. One that exceeds the interval delays the next."""
    done = 0
    while True:
        due = time.monotonic() + watched.interval_s
        last = interruptible.run(watched.read())
        for each in last:
            show(each)
        done += 1
        if done == count:
            return last
        time.sleep(max(0.0, due - time.monotonic()))


def _print_lines(watched: Watched, now: Values) -> None:
    units = dict(watched.series(now.meter))
    begin = f"{time_of_day(now.time)}  meter {now.meter.id}  "
    for name, value in now.values.items():
        say(f"{begin}{name} = {shown(value)} {units[name] or ''}".rstrip())
    if now.error:
        note(f"{begin}{now.error}")
    elif now.status.reason:
        note(f"{begin}{now.status.state}: {now.status.reason}")


def _print_json(now: Values) -> None:
    status = {"status": now.status.state, "reason": now.status.reason}
    reading = {"time": now.time, "id": now.meter.id, "values": dict(now.values), "error": now.error}
    print_json(reading | status, indent=None)
