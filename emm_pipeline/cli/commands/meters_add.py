"""`emm meters add`: test a meter, install its type if necessary, and write it into the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from emm_pipeline.cli.addresses import ENDPOINT, UNIT_ID
from emm_pipeline.cli.commands.meters_check import check_plan
from emm_pipeline.cli.commands.types_install import install_types
from emm_pipeline.cli.gateways import KnownFleet
from emm_pipeline.cli.links import gateway_of, transport_options
from emm_pipeline.cli.meter_names import named
from emm_pipeline.cli.output import can_ask, confirm, json_option, print_json, say, yes_option
from emm_pipeline.cli.showing.checks import as_json as check_as_json
from emm_pipeline.cli.showing.checks import print_findings, values_in_brief
from emm_pipeline.commissioning.check_results import AD_HOC_ID
from emm_pipeline.commissioning.type_names import find_type
from emm_pipeline.config_db.editing.meter_rows import add_meter
from emm_pipeline.config_db.loader import load_fleet
from emm_pipeline.errors import EmmError
from emm_pipeline.fleet import EnergyMeter
from emm_pipeline.opening import open_config_database
from emm_pipeline.polling.plan import PollPlan
from emm_pipeline.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

    from emm_pipeline.commissioning.check_results import MeterCheck
    from emm_pipeline.commissioning.endpoints import Endpoint
    from emm_pipeline.config_db.editing.meter_rows import MeterRow
    from emm_pipeline.fleet import GatewayAddress, MeterType


@click.command("add")
@click.argument("address", type=ENDPOINT, metavar="HOST[:PORT]")
@click.option("--unit", type=UNIT_ID, required=True, help="Modbus unit id, 0 to 255.")
@click.option("--type", "type_name", required=True, help="Its type, from the database or the catalogue.")
@click.option("--description", help="Its name for people; a tag of each point.")
@click.option("--id", "id_", type=int, help="Its id; default: the next one that no meter ever had.")
@click.option("--disabled", is_flag=True, help="Do not poll it yet, and do not test it.")
@click.option("--factor", type=float, help="Its transformers' ratio; negative where it is mounted backwards.")
@click.option("--may-be-off", is_flag=True, help="It may be silent without failing, such as an inverter at night.")
@transport_options
@click.option("--no-test", is_flag=True, help="Do not test whether it can be read.")
@click.option("--force", is_flag=True, help="Add it even if another meter is the same unit or had the id.")
@yes_option
@json_option
@click.pass_obj
def add_command(
    env_files: tuple[Path, ...],
    address: Endpoint,
    unit: int,
    type_name: str,
    description: str | None,
    id_: int | None,
    disabled: bool,
    factor: float | None,
    may_be_off: bool,
    transport: str | None,
    serial_settings: str | None,
    no_test: bool,
    force: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Test a meter, as `emm meters check` does, and add it. Its first reading comes within two minutes.

    If its type is only in the catalogue, or the test fails, the command asks what to do. With --yes it installs the
    type and adds the meter without asking. Without a terminal and without --yes, it adds nothing in these cases, and
    exits with an error. HOST is a path, such as /dev/ttyUSB0, for a serial line.

    Example: emm meters add 192.168.1.113 --unit 1 --type sdm630 --description "main distribution"
    """
    gateway = gateway_of(address, transport, serial_settings)
    type_name = type_name.strip()
    row: MeterRow = {
        "host": gateway.host,
        "port": gateway.port,
        "transport": str(gateway.transport),
        "serial_settings": gateway.serial_settings or None,
        "slave_address": unit,
        "type": type_name,
        "description": description,
        "enabled": not disabled,
        "may_be_off": may_be_off,
        **({} if factor is None else {"factor": factor}),
    }
    with open_config_database(load_settings(*env_files)) as engine:
        known = KnownFleet(engine, load_fleet(engine, all_types=True))
        is_new = type_name not in known.fleet.types
        meter_type = find_type(known.fleet, type_name, in_database=not (yes or can_ask()))
        if is_new:
            confirm(f"Type {type_name} is not in the database. Install it from the catalogue?", yes=yes)
        check = None
        if not (no_test or disabled):
            check = _test(known, gateway, meter_type, unit, factor)
            _require_success(check, yes=yes, quiet=as_json)
        if is_new:
            install_types(engine, [type_name])
        added = add_meter(engine, row | ({"id": id_} if id_ is not None else {}), force=force)
    if as_json:
        print_json(added | {"test": check_as_json(check) if check else None})
        return
    if is_new:
        say(f"installed type {type_name}: {len(meter_type.registers)} registers")
    when = f"not polled until: emm meters enable {added['id']}" if disabled else "first reading within two minutes"
    say(f"added {named(added)} at {gateway.short_name} unit {unit}, type {type_name}: {when}")


def _test(
    known: KnownFleet, gateway: GatewayAddress, meter_type: MeterType, unit: int, factor: float | None
) -> MeterCheck:
    options: dict[str, Any] = {} if factor is None else {"factor": factor}
    meter = EnergyMeter(
        *(AD_HOC_ID, gateway.host, gateway.port, unit, meter_type.name),
        transport=gateway.transport,
        serial_settings=gateway.serial_settings,
        **options,
    )
    (check,) = check_plan(known, PollPlan((meter,), {meter_type.name: meter_type}))
    return check


def _require_success(check: MeterCheck, *, yes: bool, quiet: bool) -> None:
    """Print the result of the test. If it failed, ask whether to add the meter all the same.

    Raises:
        EmmError: It failed, and there is no terminal to ask on.
        click.Abort: The answer was no.
    """
    if not quiet:
        print_findings(check)
        if values := values_in_brief(check):
            say(f"compare with its display: {values}")
    if check.ok or yes:
        return
    if not can_ask():
        raise EmmError("the meter was not added, because its test failed; to add it all the same, add --no-test")
    confirm("The test failed. Add the meter all the same?", yes=False)
