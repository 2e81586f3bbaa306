"""`emm scan`: find and identify the units behind a gateway, and print the commands that add them."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click

from emm_pipeline.catalog import load_catalogue
from emm_pipeline.cli import interruptible
from emm_pipeline.cli.addresses import ADDRESS, ENDPOINT, UNITS, Endpoint
from emm_pipeline.cli.gateways import KnownFleet, known_fleet
from emm_pipeline.cli.links import gateway_of, link_of, pause_options, transport_options
from emm_pipeline.cli.output import json_option, note, print_json, say
from emm_pipeline.cli.progress import progress
from emm_pipeline.cli.showing.tables import print_table
from emm_pipeline.commissioning.scanning import RESEND_AFTER_S, FoundUnit, Probe, Scan, Watcher, scan_any
from emm_pipeline.fleet import EnergyMeter, FunctionCode
from emm_pipeline.modbus.messages import advise
from emm_pipeline.modbus.session import Timing
from emm_pipeline.modbus.transport.base import ConnectError
from emm_pipeline.modbus.transport.choosing import other_framings
from emm_pipeline.readings import FailureKind, Request
from emm_pipeline.stores.texts import number_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

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
    help="Seconds for each unit. The first silent unit gets 5 s more, to find out whether the gateway is slower.",
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
    as_json: bool,
) -> None:
    """Find the units that answer behind HOST, identify them, and print the commands that add them.

    The scan reads one register of each unit, over one connection, with pauses. It compares each unit that answers with
    the catalogue of known types. No database is needed; if there is one, the scan lets polls of the same gateway run
    every five seconds. Ctrl-C prints the units found so far. Exits with 1 if no unit answers.

    Where no unit answers over Modbus TCP, RTU frames over TCP are tried as well, unless --transport is given, and then
    each unit is asked twice over one connection, because some gateways lose the first request. For a serial line, HOST
    is the path of its device.

    Example: emm scan 192.168.1.113 --units 1-20
    """
    request = Request(FunctionCode(int(fc)), address, 1)
    gateway = gateway_of(endpoint, transport, serial_settings)
    timing = Timing(timeout, pause, connect_pause or 0.0, reopen_pause or 0.0)
    probe = Probe(gateway, request, timing, tuple(load_catalogue().values()))
    others = () if transport else other_framings(gateway)
    state = Scan(units)
    problem, interrupted = None, False
    with known_fleet(env_files) as known:
        try:
            gateway = _scan(known, probe, others, state)
        except ConnectError as err:
            problem = f"{probe.gateway.name}: {err}; {err.advice or advise(err.kind)}"
        except KeyboardInterrupt:
            interrupted = True
        if as_json:
            print_json(_to_json(endpoint, gateway, state, known, problem, interrupted=interrupted))
        elif state.asked or not problem:
            _print(endpoint, gateway, state, known)
    if problem:
        note(f"error: {problem}")
    if interrupted:
        note(f"interrupted after {state.asked} of {len(units)} units")
        raise SystemExit(INTERRUPTED)
    if problem or not state.found:
        raise SystemExit(1)


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


def _print(endpoint: Endpoint, gateway: GatewayAddress, state: Scan, known: KnownFleet) -> None:
    if state.found:
        has_labels = any(found.labels for found in state.found)
        headers = ("unit", "answer", "ms", "type", *(["labels"] if has_labels else []))
        rows = (
            (
                *(found.unit_id, _said(found), f"{found.reply.seconds * 1000:.0f}", _named(found)),
                ", ".join(f"{name} {text}" for name, text in found.labels.items()),
            )[: len(headers)]
            for found in state.found
        )
        print_table(headers, rows, right=("unit", "ms"))
        say()
    over = f" over {gateway.name}" if link_of(gateway) else ""
    say(f"{len(state.found)} of {state.asked} units answer{over}")
    for notice in state.notices:
        say(notice)
    if state.slow_s:
        say(f"The first reply took {state.slow_s:.1f} s, so each unit got more time than --timeout.")
    if state.all_reply:
        say("All units answer: this is probably one device that answers to any unit id. Add only one of them.")
    for reason in sorted(set(state.unclear.values())):
        units = [str(unit) for unit, why in state.unclear.items() if why == reason]
        say(f"no valid reply came for {number_of(len(units), 'unit')} ({', '.join(units[:10])}): {reason}")
    if not state.found and state.asked:
        kind = FailureKind.INVALID_REPLY if state.unclear else FailureKind.TIMEOUT
        say(state.advice or advise(kind))
    _print_next_steps(endpoint, gateway, state, known)


def _said(found: FoundUnit) -> str:
    return found.reply.reason or f"0x{found.reply.words[0]:04X}"


def _named(found: FoundUnit) -> str:
    if found.candidates is None:
        return "not compared with the catalogue"
    if not found.candidates:
        return "not in the catalogue"
    first, *others = found.candidates
    more = f", or {', '.join(each.type for each in others)}" if others else ""
    return f"{first.type} ({'proven by its id' if first.proven else 'by plausible values'}){more}"


def _print_next_steps(endpoint: Endpoint, gateway: GatewayAddress, state: Scan, known: KnownFleet) -> None:
    """Print what to type next: for types, for meters that are not known yet, and for units of unknown type."""
    new = [found for found in state.found if not _meter_of(known, endpoint, found.unit_id)]
    types = dict.fromkeys(found.candidates[0].type for found in new if found.candidates)
    missing = [name for name in types if name not in known.fleet.types]
    steps = [install_line(missing)] if missing else []
    steps += [add_line(endpoint, gateway, found) for found in new if found.candidates]
    for found in state.found:
        if meter := _meter_of(known, endpoint, found.unit_id):
            say(f"unit {found.unit_id} is already configured as {meter}")
    if steps:
        say("\nTo poll them:\n")
        for step in steps:
            say(f"  {step}")
    unknown = [found.unit_id for found in new if not found.candidates]
    if unknown:
        say("\nTo find out the registers of the other units, with their manual:\n")
        say(f"  emm read {endpoint.text} --unit {unknown[0]} --address 0 --count 10{link_of(gateway)}")


def install_line(type_names: Sequence[str]) -> str:
    """Return the command that copies types of the catalogue into the database."""
    return f"emm types install {shlex.join(type_names)}"


def add_line(endpoint: Endpoint, gateway: GatewayAddress, found: FoundUnit) -> str:
    """Return the command that adds the unit as a meter of its likeliest type."""
    type_name = found.candidates[0].type if found.candidates else "TYPE"
    where = f"{shlex.quote(endpoint.text)} --unit {found.unit_id}{link_of(gateway)}"
    return f"emm meters add {where} --type {shlex.quote(type_name)}"


def _meter_of(known: KnownFleet, endpoint: Endpoint, unit_id: int) -> EnergyMeter | None:
    for meter in known.fleet.meters:
        if (meter.host, meter.port, meter.unit_id) == (*endpoint, unit_id):
            return meter
    return None


def _to_json(
    endpoint: Endpoint,
    gateway: GatewayAddress,
    state: Scan,
    known: KnownFleet,
    problem: str | None,
    *,
    interrupted: bool,
) -> dict[str, Any]:
    units = []
    for found in state.found:
        meter = _meter_of(known, endpoint, found.unit_id)
        units.append(
            {
                "unit": found.unit_id,
                "words": list(found.reply.words),
                "exception_code": found.reply.exception_code,
                "seconds": round(found.reply.seconds, 4),
                "candidates": None
                if found.candidates is None
                else [{"type": each.type, "proven": each.proven} for each in found.candidates],
                "labels": dict(found.labels),
                "meter_id": meter.id if meter else None,
                "add": add_line(endpoint, gateway, found) if found.candidates and not meter else None,
            }
        )
    return {
        "host": endpoint.host,
        "port": endpoint.port,
        "transport": str(gateway.transport),
        "notices": state.notices,
        "asked": state.asked,
        "interrupted": interrupted,
        "slow_s": state.slow_s,
        "error": problem,
        "units": units,
        "unclear": [{"unit": unit, "reason": reason} for unit, reason in state.unclear.items()],
    }
