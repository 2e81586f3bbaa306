"""Print the commands to type after a scan, and its result as JSON."""

from __future__ import annotations

import math
import shlex
from typing import TYPE_CHECKING, Any

from emm_pipeline.cli.links import link_of
from emm_pipeline.cli.output import say
from emm_pipeline.commissioning.candidates import alike, is_certain, is_decided
from emm_pipeline.commissioning.check_notes import longer_timeout_s

if TYPE_CHECKING:
    from collections.abc import Sequence

    from emm_pipeline.cli.gateways import KnownFleet
    from emm_pipeline.commissioning.candidates import Candidate
    from emm_pipeline.commissioning.endpoints import Endpoint
    from emm_pipeline.commissioning.scan_state import FoundUnit, Scan
    from emm_pipeline.fleet import EnergyMeter, GatewayAddress
    from emm_pipeline.modbus.session import Timing

MOST_EQUAL = 5
"""Number of types that fit equally well and for which commands are printed."""


def decided_type(found: FoundUnit) -> str | None:
    """Return the type with which a unit can be added; None if it is not certain enough."""
    return found.candidates[0].type if found.candidates and is_certain(found.candidates) else None


def equal_types(found: FoundUnit) -> list[str]:
    """Return the types among which only a label on the unit decides; an empty list if its type is certain, or unclear.

    The number of types is limited: there are few with the same registers.
    """
    if not found.candidates or not is_decided(found.candidates) or not (others := alike(found.candidates)):
        return []
    return [each.type for each in (found.candidates[0], *others)][:MOST_EQUAL]


def new_units(state: Scan, known: KnownFleet, endpoint: Endpoint) -> list[FoundUnit]:
    """Return the units that are no meters of the database yet, without those at which a device was found again."""
    return [each for each in state.found if each.same_as is None and not meter_of(known, endpoint, each.unit_id)]


def setting_lines(units: Sequence[FoundUnit], known: KnownFleet, timing: Timing) -> list[str]:
    """Return the commands that give the types of units the timeout and the pauses with which the scan found them."""
    needed: dict[str, dict[str, float]] = {}
    for found in units:
        type_name = decided_type(found)
        if not found.candidates or type_name is None:
            continue
        meter_type = known.fleet.types.get(type_name) or found.candidates[0].entry.meter_type
        changes = needed.setdefault(type_name, {})
        if longer_s := longer_timeout_s(found.reply.seconds, meter_type.timeout_s):
            changes["timeout_s"] = max(longer_s, changes.get("timeout_s", 0))
        for name in ("connect_pause_s", "reopen_pause_s"):
            if getattr(timing, name) > getattr(meter_type, name):
                changes[name] = getattr(timing, name)
    return [
        f"emm types set {shlex.quote(name)} {' '.join(f'{key}={value:g}' for key, value in changes.items())}"
        for name, changes in needed.items()
        if changes
    ]


def print_next_steps(
    endpoint: Endpoint, gateway: GatewayAddress, state: Scan, known: KnownFleet, timing: Timing
) -> None:
    """Print what to type next: for types, for meters that are not known yet, and for units of unknown type."""
    new = new_units(state, known, endpoint)
    decided = [found for found in new if decided_type(found)]
    types = dict.fromkeys(filter(None, map(decided_type, decided)))
    missing = [name for name in types if name not in known.fleet.types]
    steps = [install_line(missing)] if missing else []
    steps += setting_lines(decided, known, timing)
    steps += [add_line(endpoint, gateway, found) for found in decided]
    for found in state.found:
        if meter := meter_of(known, endpoint, found.unit_id):
            say(f"unit {found.unit_id} is already configured as {meter}")
    _print_steps("To poll them", steps)
    for found in new:
        lines = [add_line(endpoint, gateway, found, name) for name in equal_types(found)]
        _print_steps(f"To poll unit {found.unit_id}, use the line with the type on its label", lines)
    unclear = [found for found in new if found.candidates and not decided_type(found) and not equal_types(found)]
    checks = [f"{check_line(endpoint, gateway, found)}{pauses_of(timing)}" for found in unclear]
    _print_steps("To see all values of a unit whose type is not certain", checks)
    scans = []
    for found in (each for each in new if each.late_s is not None):
        options = f"--units {found.unit_id} --timeout {math.ceil(2 * (found.late_s or 0))}"
        scans.append(f"emm scan {shlex.quote(endpoint.text)} {options}{link_of(gateway)}{pauses_of(timing)}")
    _print_steps("To identify the slow units", scans)
    unknown = [found.unit_id for found in new if not found.candidates and found.late_s is None]
    reads = [f"emm read {endpoint.text} --unit {unit} --address 0 --count 10{link_of(gateway)}" for unit in unknown[:1]]
    _print_steps("To find out the registers of the other units, with their manual", reads)


def _print_steps(title: str, lines: Sequence[str]) -> None:
    """Print commands under a title; nothing if there are none."""
    if lines:
        say(f"\n{title}:\n")
    for line in lines:
        say(f"  {line}")


def install_line(type_names: Sequence[str]) -> str:
    """Return the command that copies types of the catalogue into the database."""
    return f"emm types install {shlex.join(type_names)}"


def add_line(endpoint: Endpoint, gateway: GatewayAddress, found: FoundUnit, type_name: str | None = None) -> str:
    """Return the command that adds the unit as a meter of a type, its likeliest one by default."""
    type_name = type_name or (found.candidates[0].type if found.candidates else "TYPE")
    where = f"{shlex.quote(endpoint.text)} --unit {found.unit_id}{link_of(gateway)}"
    return f"emm meters add {where} --type {shlex.quote(type_name)}"


def check_line(endpoint: Endpoint, gateway: GatewayAddress, found: FoundUnit) -> str:
    """Return the command that shows the unit's values as those of its likeliest type."""
    type_name = found.candidates[0].type if found.candidates else "TYPE"
    where = f"--host {shlex.quote(endpoint.text)} --unit {found.unit_id}{link_of(gateway)}"
    return f"emm meters check {where} --type {shlex.quote(type_name)}"


def pauses_of(timing: Timing) -> str:
    """Return the options for the pauses of a scan, with a space before them; nothing for the usual ones."""
    pauses = {"connect-pause": timing.connect_pause_s, "reopen-pause": timing.reopen_pause_s}
    return "".join(f" --{name} {value:g}" for name, value in pauses.items() if value)


def meter_of(known: KnownFleet, endpoint: Endpoint, unit_id: int) -> EnergyMeter | None:
    """Return the meter of the database that is this unit; None if there is none."""
    for meter in known.fleet.meters:
        if (meter.host, meter.port, meter.unit_id) == (*endpoint, unit_id):
            return meter
    return None


def candidate_as_json(candidate: Candidate) -> dict[str, Any]:
    """Return a possible type of a unit for `--json`."""
    return {
        "type": candidate.type,
        "proven": candidate.proven,
        "confidence": candidate.confidence.name.lower(),
        "registers": candidate.registers,
        "sent": candidate.sent,
        "odd": list(dict.fromkeys(candidate.odd)),
        "values": dict(candidate.values),
    }


def scan_as_json(
    endpoint: Endpoint,
    gateway: GatewayAddress,
    state: Scan,
    known: KnownFleet,
    problem: str | None,
    *,
    interrupted: bool,
) -> dict[str, Any]:
    """Return the result of a scan for `--json`."""
    units = []
    for found in state.found:
        meter = meter_of(known, endpoint, found.unit_id)
        units.append(
            {
                "unit": found.unit_id,
                "words": list(found.reply.words),
                "exception_code": found.reply.exception_code,
                "seconds": round(found.reply.seconds, 4),
                "candidates": None
                if found.candidates is None
                else [candidate_as_json(each) for each in found.candidates],
                "decided": is_decided(found.candidates or ()),
                "equal_types": equal_types(found),
                "same_as": found.same_as,
                "late_s": found.late_s and round(found.late_s, 4),
                "labels": dict(found.labels),
                "meter_id": meter.id if meter else None,
                "add": add_line(endpoint, gateway, found) if decided_type(found) and not meter else None,
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
