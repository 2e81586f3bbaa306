"""Print the commands to type after a scan, and its result as JSON."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from emm_pipeline.cli.links import link_of
from emm_pipeline.cli.output import say
from emm_pipeline.commissioning.candidates import is_decided

if TYPE_CHECKING:
    from collections.abc import Sequence

    from emm_pipeline.cli.addresses import Endpoint
    from emm_pipeline.cli.gateways import KnownFleet
    from emm_pipeline.commissioning.candidates import Candidate
    from emm_pipeline.commissioning.scan_state import FoundUnit, Scan
    from emm_pipeline.fleet import EnergyMeter, GatewayAddress


def decided_type(found: FoundUnit) -> str | None:
    """Return the type with which a unit can be added; None if it is not certain enough."""
    return found.candidates[0].type if found.candidates and is_decided(found.candidates) else None


def print_next_steps(endpoint: Endpoint, gateway: GatewayAddress, state: Scan, known: KnownFleet) -> None:
    """Print what to type next: for types, for meters that are not known yet, and for units of unknown type."""
    new = [found for found in state.found if not meter_of(known, endpoint, found.unit_id)]
    decided = [found for found in new if decided_type(found)]
    types = dict.fromkeys(filter(None, map(decided_type, decided)))
    missing = [name for name in types if name not in known.fleet.types]
    steps = [install_line(missing)] if missing else []
    steps += [add_line(endpoint, gateway, found) for found in decided]
    for found in state.found:
        if meter := meter_of(known, endpoint, found.unit_id):
            say(f"unit {found.unit_id} is already configured as {meter}")
    if steps:
        say("\nTo poll them:\n")
        for step in steps:
            say(f"  {step}")
    if undecided := [found for found in new if found.candidates and found not in decided]:
        say("\nTo see all values of a unit whose type is not certain:\n")
        for found in undecided:
            say(f"  {check_line(endpoint, gateway, found)}")
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


def check_line(endpoint: Endpoint, gateway: GatewayAddress, found: FoundUnit) -> str:
    """Return the command that shows the unit's values as those of its likeliest type."""
    type_name = found.candidates[0].type if found.candidates else "TYPE"
    where = f"--host {shlex.quote(endpoint.text)} --unit {found.unit_id}{link_of(gateway)}"
    return f"emm meters check {where} --type {shlex.quote(type_name)}"


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
