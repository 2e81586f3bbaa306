"""`emm virtual new` and `list`: make a working copy of the virtual server, and show the devices that are meters."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from emm_pipeline.cli.groups import CommandGroup
from emm_pipeline.cli.local_time import shown_time, zone_name
from emm_pipeline.cli.output import json_option, print_json, say
from emm_pipeline.cli.showing.tables import print_table
from emm_pipeline.cli.virtual_device import EXAMPLES, make_device
from emm_pipeline.condition.meters import meter_conditions
from emm_pipeline.condition.virtual_devices import virtual_devices
from emm_pipeline.config_db.editing.meter_rows import shown_gateway
from emm_pipeline.opening import open_config_database
from emm_pipeline.runnable import is_elsewhere
from emm_pipeline.settings import load_settings

PORT = 5020


@click.group("virtual", cls=CommandGroup)
def virtual() -> None:
    """Virtual devices: programs that serve the data of a device without Modbus as registers."""


@virtual.command("new")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--example", type=click.Choice(EXAMPLES), help="Copy this example, not a script to be completed.")
@json_option
def new_command(folder: Path, example: str | None, as_json: bool) -> None:
    """Make FOLDER with a virtual server that runs at once, and print the next commands.

    The name of the folder is also that of the script, of the type in its register table, and of its service in the
    stack. docs/adding-a-virtual-device.md describes what to write.

    Example: emm virtual new my_device
    """
    name = make_device(folder, example)
    if as_json:
        print_json({"folder": str(folder), "name": name, "script": str(folder / f"{name}.py")})
        return
    type_name = example or name
    file, script, service = (shlex.quote(str(folder / part)) for part in ("registers.csv", f"{name}.py", "compose.yml"))
    table = f"emm types install {example}" if example else f"emm registers import {file}"
    code = "docker compose exec code "
    piped = f"docker compose exec -T code emm registers import - < {file}"
    in_stack = f"{code}{table}" if example else piped
    argument = " --inverter HOST" if example == "zeversolar" else ""
    say(f"made {folder}. {'Its script' if example else 'Complete its script'}: {folder / f'{name}.py'}")
    say("\nTo try it on this machine, the first command in another terminal:\n")
    say(f"  {_python()} {script} --host 127.0.0.1 --port {PORT}{argument}")
    say(f"  {table}")
    say(f"  emm meters add 127.0.0.1:{PORT} --unit 1 --type {type_name}")
    say("\nTo run it in the stack:\n")
    say(f"  docker compose -f docker-compose.yml -f {service} up --build -d")
    say(f"  {in_stack}")
    say(f"  {code}emm meters add {name} --unit 1 --type {type_name}")


@virtual.command("list")
@json_option
@click.pass_obj
def list_command(env_files: tuple[Path, ...], as_json: bool) -> None:
    """Show the meters that are virtual devices: whether it answers, when its data was current, and its log.

    These are the meters with a type of an example, or whose type has the name of their host.

    Example: emm virtual list
    """
    settings = load_settings(*env_files)
    with open_config_database(settings) as engine:
        found = virtual_devices(meter_conditions(engine, settings), in_stack=is_elsewhere())
    if as_json:
        print_json([each.as_record() for each in found])
        return
    if not found:
        say("no virtual devices yet: emm virtual new FOLDER makes one")
        return
    answers = {True: "answers", False: "does not answer", None: ""}
    headers = ("id", "description", "host:port", "status", "server", f"data current at ({zone_name()})", "log")
    rows = (
        (
            *(each.meter.id, each.meter.row.get("description"), shown_gateway(each.meter.row), each.meter.status.state),
            *(answers[each.answers], shown_time(each.current_at), each.log),
        )
        for each in found
    )
    print_table(headers, rows, right=("id",), below=("log", "description"))
    for each in found:
        if each.meter.status.reason:
            say(f"meter {each.meter.id}: {each.meter.status.reason}")


def _python() -> str:
    """Return this Python as a person would type it in the current folder."""
    path = Path(sys.executable)
    return shlex.quote(str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path))
