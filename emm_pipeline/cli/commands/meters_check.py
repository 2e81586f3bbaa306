"""`emm meters check`: test whether each meter answers as configured, and say what to do if it does not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from emm_pipeline.cli import interruptible
from emm_pipeline.cli.addresses import ENDPOINT, UNIT_ID
from emm_pipeline.cli.gateways import KnownFleet, known_fleet
from emm_pipeline.cli.links import gateway_of, pause_options, transport_options
from emm_pipeline.cli.meter_names import ids_of
from emm_pipeline.cli.output import json_option, note, print_json, say
from emm_pipeline.cli.progress import progress
from emm_pipeline.cli.showing.checks import print_check, to_json
from emm_pipeline.commissioning.check_results import AD_HOC_ID, MeterCheck, Verdict
from emm_pipeline.commissioning.checking import check_meters, steps_of
from emm_pipeline.commissioning.type_names import find_type
from emm_pipeline.errors import ConfigurationError, TransientError
from emm_pipeline.fleet import EnergyMeter
from emm_pipeline.polling.device_state import forget_what_was_read
from emm_pipeline.polling.plan import PollPlan, plan_meters
from emm_pipeline.stores.texts import number_of

if TYPE_CHECKING:
    from pathlib import Path

    from emm_pipeline.commissioning.endpoints import Endpoint
    from emm_pipeline.fleet import GatewayAddress


@click.command("check")
@click.argument("meters", nargs=-1, metavar="[METER …]")
@click.option("--host", "endpoint", type=ENDPOINT, metavar="HOST[:PORT]", help="Check a device outside the database.")
@click.option("--unit", type=UNIT_ID, help="Its unit id.  [default: 1]")
@click.option("--type", "type_name", help="Its type, from the database or the catalogue.")
@transport_options
@pause_options
@json_option
@click.pass_obj
def check_command(
    env_files: tuple[Path, ...],
    meters: tuple[str, ...],
    endpoint: Endpoint | None,
    unit: int | None,
    type_name: str | None,
    transport: str | None,
    serial_settings: str | None,
    connect_pause: float | None,
    reopen_pause: float | None,
    as_json: bool,
) -> None:
    """Read each register of a meter singly, then as a poll does. METER is an id or a description; default: all meters.

    Prints each register's value, unit, raw registers and response time; for each failure, the reason and what to do.
    OK means that a poll reads everything; what a poll copes with is a note. A value that cannot be right is a failure.
    Nothing is stored. Exits with 1 if anything failed.

    To check a device that is not in the database: emm meters check --host 192.168.1.113 --unit 1 --type sdm630

    Example: emm meters check 1
    """
    if endpoint and meters:
        raise ConfigurationError("give either METER or --host, not both: a METER's address is in the database")
    if not endpoint and (type_name or unit is not None or transport or serial_settings):
        raise ConfigurationError("--unit, --type, --transport and --serial can be used only together with --host")
    gateway = gateway_of(endpoint, transport, serial_settings) if endpoint else None
    with known_fleet(env_files) as known:
        plan = _ad_hoc(known, gateway, unit, type_name) if gateway else _configured(known, meters)
        plan = _with_pauses(plan, connect_pause, reopen_pause)
        checks = check_plan(known, plan)
        if known.engine:
            forget_what_was_read(known.engine, {check.meter: check.given for check in checks})
    if as_json:
        print_json(to_json(checks, plan.unreadable))
    else:
        for check in checks:
            print_check(check)
        for meter_id, reason in plan.unreadable.items():
            say(f"meter {meter_id}: {reason}\n")
        if len(checks) + len(plan.unreadable) > 1:
            _print_total(checks, len(checks) + len(plan.unreadable))
    if plan.unreadable or not all(check.ok for check in checks):
        raise SystemExit(1)


def _print_total(checks: list[MeterCheck], number: int) -> None:
    with_notes = sum(check.verdict is Verdict.NOTES for check in checks)
    notes = f", {with_notes} of them with notes" if with_notes else ""
    say(f"{sum(check.ok for check in checks)} of {number} meters OK{notes}")


def _configured(known: KnownFleet, names: tuple[str, ...]) -> PollPlan:
    if known.engine is None:
        raise TransientError(f"{known.reason}; to check a device without a database, use --host, --unit and --type")
    plan = plan_meters(known.fleet, ids_of(known.engine, names) if names else known.fleet.ids)
    if not plan.meters and not plan.unreadable:
        raise ConfigurationError("there are no meters: energy_meters has no enabled row")
    return plan


def _with_pauses(plan: PollPlan, connect: float | None, reopen: float | None) -> PollPlan:
    """Return the plan with the pauses of the options instead of those of the types."""
    given = {"connect_pause_s": connect, "reopen_pause_s": reopen}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return replace(plan, types={name: replace(each, **changes) for name, each in plan.types.items()})


def _ad_hoc(known: KnownFleet, gateway: GatewayAddress, unit: int | None, type_name: str | None) -> PollPlan:
    if not type_name:
        raise ConfigurationError("--host needs --type: a type from the database or the catalogue")
    meter = EnergyMeter(
        AD_HOC_ID,
        gateway.host,
        gateway.port,
        1 if unit is None else unit,
        type_name,
        transport=gateway.transport,
        serial_settings=gateway.serial_settings,
    )
    return PollPlan((meter,), {type_name: find_type(known.fleet, type_name)})


def check_plan(known: KnownFleet, plan: PollPlan) -> list[MeterCheck]:
    """Check the meters of a plan, with a progress line; polls do not use their gateways meanwhile."""
    steps = sum(steps_of(plan.types[meter.type]) for meter in plan.meters)
    accepted = known.accepted()

    async def run() -> list[MeterCheck]:
        async with known.locks() as locks:
            return await check_meters(plan.meters, plan.types, locks, advance, _say_that_it_waits, accepted=accepted)

    with progress(f"checking {number_of(len(plan.meters), 'meter')}", steps, remaining=True) as advance:
        return interruptible.run(run())


def _say_that_it_waits() -> None:
    note("waiting for a poll …")
