"""`emm scan`: find and identify the units behind a gateway, and print the commands that add them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from emm_pipeline.catalog import load_catalogue
from emm_pipeline.cli import found_meters, interruptible
from emm_pipeline.cli.addresses import ADDRESS, ENDPOINT, UNITS
from emm_pipeline.cli.gateways import KnownFleet, known_fleet
from emm_pipeline.cli.links import gateway_of, pause_options, transport_options
from emm_pipeline.cli.output import json_option, note, print_json, yes_option
from emm_pipeline.cli.progress import progress
from emm_pipeline.cli.showing.found_units import print_units
from emm_pipeline.cli.showing.next_steps import print_next_steps, scan_as_json
from emm_pipeline.commissioning.ranking import Ranking
from emm_pipeline.commissioning.scan_state import Probe, Scan, Watcher
from emm_pipeline.commissioning.scanning import RESEND_AFTER_S, scan_any
from emm_pipeline.fleet import FunctionCode
from emm_pipeline.modbus.messages import advise_on
from emm_pipeline.modbus.session import Timing
from emm_pipeline.modbus.transport.base import ConnectError
from emm_pipeline.modbus.transport.choosing import other_framings
from emm_pipeline.readings import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from emm_pipeline.commissioning.endpoints import Endpoint
    from emm_pipeline.fleet import GatewayAddress

INTERRUPTED = 130


@click.command("scan")
@click.argument("endpoint", type=ENDPOINT, metavar="HOST[:PORT]")
@click.option("--units", type=UNITS, default="1-247", show_default=True, help="Unit ids: 5, or 1-20, or 1,3,10-20.")
@click.option(
    "--timeout",
    type=click.FloatRange(0.05, 60),
    default=1.5,
    show_default=True,
    help="Seconds for each unit. A unit that answers later, up to 5 s, is found while others are asked.",
)
@click.option(
    "--pause", type=click.FloatRange(0, 10), default=0.05, show_default=True, help="Seconds between requests."
)
@click.option("--address", type=ADDRESS, default=0, show_default=True, help="The register to read.")
@click.option(
    "--fc", type=click.Choice(["3", "4"]), default="3", show_default=True, help="3 holding, 4 input register."
)
@transport_options
@pause_options
@click.option("--add", is_flag=True, help="Add the units that were found as meters, with their types, after asking.")
@click.option("--save", type=click.Path(path_type=Path, dir_okay=False), help="Write them to a CSV or YAML file.")
@yes_option
@json_option
@click.pass_obj
def scan_command(
    env_files: tuple[Path, ...],
    endpoint: Endpoint,
    units: tuple[int, ...],
    timeout: float,
    pause: float,
    address: int,
    fc: str,
    transport: str | None,
    serial_settings: str | None,
    connect_pause: float | None,
    reopen_pause: float | None,
    add: bool,
    save: Path | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Find the units that answer behind HOST, identify them, and print the commands that add them.

    The scan reads one register of each unit, over one connection, with pauses. It compares all registers of each unit
    that answers with the types of the catalogue, in all orders of words and bytes, and says how sure it is. A unit that
    answers later than --timeout is found, too. A device that answers to several unit ids is offered once. --add adds
    the meters, --save FILE is for `emm meters import`.

    No database is needed, except for --add; if there is one, the scan lets polls of the same gateway run every five
    seconds. Ctrl-C prints the units found so far. Exits with 1 if no unit answers, or if --add left out one.

    Where no unit answers over Modbus TCP, RTU frames over TCP are tried as well, unless --transport is given, and then
    each unit is asked twice over one connection, because some gateways lose the first request. For a serial line, HOST
    is the path of its device.

    Example: emm scan 192.168.1.113 --units 1-20
    """
    if add and as_json:
        raise click.UsageError("--add asks and prints for people: leave out --json")
    gateway = gateway_of(endpoint, transport, serial_settings)
    request = Request(FunctionCode(int(fc)), address, 1)
    timing = Timing(timeout, pause, connect_pause or 0.0, reopen_pause or 0.0)
    wishes = _Wishes(add, save, yes, as_json)
    others = () if transport else other_framings(gateway)
    with known_fleet(env_files) as known:
        wishes.check(known)
        is_shared = any((meter.host, meter.port) == endpoint for meter in known.fleet.meters)
        probe = Probe(gateway, request, timing, Ranking(load_catalogue().values()), is_shared)
        result = _scan_and_report(endpoint, probe, others, Scan(units), known, wishes)
    if result.problem:
        note(f"error: {result.problem}")
    if result.is_interrupted:
        note(f"interrupted after {result.state.asked} of {len(units)} units")
        raise SystemExit(INTERRUPTED)
    if result.problem or not result.state.found or result.left_out:
        raise SystemExit(1)


@dataclass(frozen=True, slots=True)
class _Wishes:
    """Options for the result."""

    add: bool
    save: Path | None
    yes: bool
    as_json: bool

    def check(self, known: KnownFleet) -> None:
        """Raise an error before the scan if something cannot be done after it."""
        if self.save:
            found_meters.require_folder(self.save)
        if self.add:
            found_meters.require_database(known, yes=self.yes)


@dataclass(slots=True)
class _Result:
    """The result of a scan, and why it ended early."""

    state: Scan
    problem: str | None = None
    is_interrupted: bool = False
    left_out: int = 0
    """Number of units that could not be added."""


def _scan_and_report(
    endpoint: Endpoint,
    probe: Probe,
    others: Sequence[GatewayAddress],
    state: Scan,
    known: KnownFleet,
    wishes: _Wishes,
) -> _Result:
    result, gateway = _Result(state), probe.gateway
    try:
        gateway = _scan(known, probe, others, state)
    except ConnectError as err:
        result.problem = f"{probe.gateway.name}: {err}; {advise_on(err)}"
    except KeyboardInterrupt:
        result.is_interrupted = True
    if wishes.as_json:
        early = result.is_interrupted
        print_json(scan_as_json(endpoint, gateway, state, known, result.problem, interrupted=early))
    elif state.asked or not result.problem:
        print_units(gateway, state, probe.timing.timeout_s)
        if result.is_interrupted or not wishes.add:
            print_next_steps(endpoint, gateway, state, known, probe.timing)
    if wishes.save and state.found:
        found_meters.save(wishes.save, endpoint, gateway, state, known)
    if wishes.add and state.found and not result.is_interrupted:
        result.left_out = found_meters.add(endpoint, gateway, state, known, probe.timing, yes=wishes.yes)
    return result


def _scan(known: KnownFleet, probe: Probe, others: Sequence[GatewayAddress], state: Scan) -> GatewayAddress:
    async def run(watcher: Watcher) -> GatewayAddress:
        async with known.locks() as locks:
            return await scan_any(probe, others, state, locks, watcher)

    def on_other(gateway: GatewayAddress) -> None:
        note(f"no unit answers over {probe.gateway.name}: trying {gateway.name}")

    def on_again() -> None:
        note("no unit answers: asking each again, because some gateways lose the first request of a connection")

    if known.engine is None:
        note("no configuration database: polls of the same gateway may run during this scan and disturb it")
    unit_s = probe.timing.timeout_s + probe.timing.request_pause_s
    longest_s = len(state.units) * (unit_s * (2 + len(others)) + RESEND_AFTER_S)
    what = f"scanning {len(state.units)} units of {probe.gateway}"
    if longest_s > 10:  # noqa: PLR2004 - a wait that needs no warning
        note(f"{what}: {_duration(longest_s)} if none of them answers")
    with progress(what, len(state.units), remaining=True) as advance:
        on_wait: Callable[[], None] = lambda: note("waiting for a poll of this gateway to end …")  # noqa: E731
        return interruptible.run(run(Watcher(advance, on_wait, on_other, on_again)))


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} minutes"  # noqa: PLR2004
