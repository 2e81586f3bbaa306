"""`emm service …`: EMM as services of systemd."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from emm_pipeline.cli.groups import CommandGroup
from emm_pipeline.cli.output import note, say
from emm_pipeline.errors import ConfigurationError
from emm_pipeline.service import installing
from emm_pipeline.service.units import TARGET
from emm_pipeline.settings import load_settings

if TYPE_CHECKING:
    from emm_pipeline.service.installing import Manager

_system = click.option(
    "--system/--user",
    "is_system",
    default=None,
    help="Services of the system, or of the present user. Default: --system for root, else --user.",
)


def _manager(is_system: bool | None, run_as: str = "emm") -> Manager:
    is_root = os.geteuid() == 0
    wanted = is_root if is_system is None else is_system
    if wanted:
        return installing.system_manager(run_as)
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return installing.user_manager(config, state)


@click.group("service", cls=CommandGroup)
def service() -> None:
    """Run EMM as services of systemd, without Docker."""


@service.command("install")
@_system
@click.option("--run-as", default="emm", show_default=True, help="User of the services of the system.")
@click.option("--bind", default="127.0.0.1", show_default=True, help="Address at which the pages listen.")
@click.pass_context
def install(context: click.Context, is_system: bool | None, run_as: str, bind: str) -> None:
    """Write the units and start EMM: code server, daemon, webserver, watchdog and web page.

    With MQTT_URL also the publisher, with BACKUP_DIR the daily backup. It uses a PostgreSQL and an InfluxDB that run
    already. The first time it writes a file for the settings: edit it, and run the command again. Run it again as well
    after a change of the settings, and after an upgrade of EMM.

    Example: emm service install
    """
    manager = _manager(is_system, run_as)
    if installing.create_settings(manager):
        say(f"{manager.settings}: written. Set POSTGRES_* and INFLUXDB_* in it, and run this command again")
        return
    settings = load_settings(manager.settings)
    root = context.find_root().command
    commands = root.list_commands(context) if isinstance(root, click.Group) else []
    wanted = installing.processes(settings, commands, bind, manager.state)
    written = installing.install(manager, wanted, installing.folders_elsewhere(settings, manager.state))
    say("\n".join(map(str, written)))
    if not installing.RUNNING.is_dir():
        note("systemd does not run on this machine: the units are written, but not started")
        return
    _require_success(manager, "daemon-reload")
    _require_success(manager, "enable", *(file.name for file in written))
    _require_success(manager, "restart", TARGET, *(file.name for file in written if file.name != TARGET))
    say(f"started; {'sudo ' if manager.is_system else ''}emm service status shows how it goes")
    if not manager.is_system:
        say("services of a user end with the last session, unless an administrator runs: loginctl enable-linger $USER")


@service.command("status")
@_system
def status(is_system: bool | None) -> None:
    """Show the state of each service. Exits with 0 if all run.

    `emm status` shows whether the meters are read.

    Example: emm service status
    """
    manager = _manager(is_system)
    names = [file.name for file in _installed(manager)]
    raise SystemExit(installing.run(manager.command("systemctl", "status", "--no-pager", "--lines=3", *names)))


@service.command("logs")
@_system
@click.option("-f", "--follow", is_flag=True, help="Show new lines until Ctrl-C.")
@click.option("-n", "--lines", type=click.IntRange(1), default=100, show_default=True, help="Number of lines.")
@click.argument("name", required=False)
def logs(is_system: bool | None, follow: bool, lines: int, name: str | None) -> None:
    """Show the log of all services, or of one, such as code-server.

    Example: emm service logs daemon
    """
    manager = _manager(is_system)
    services = [file.name for file in _installed(manager) if file.name != TARGET]
    if name:
        if f"emm-{name}.service" not in services:
            known = ", ".join(each.removeprefix("emm-").removesuffix(".service") for each in services)
            raise ConfigurationError(f"there is no service {name}; there are: {known}")
        services = [f"emm-{name}.service"]
    chosen = [part for each in services for part in ("--unit" if manager.is_system else "--user-unit", each)]
    options = ["--no-pager", f"--lines={lines}", *(["--follow"] if follow else [])]
    raise SystemExit(installing.run(["journalctl", *options, *chosen]))


@service.command("remove")
@_system
def remove(is_system: bool | None) -> None:
    """Stop the services and remove their units. Settings, databases and the outbox are kept.

    Example: emm service remove
    """
    manager = _manager(is_system)
    units = _installed(manager)
    if installing.RUNNING.is_dir():
        _require_success(manager, "disable", "--now", *(file.name for file in units))
    for file in units:
        file.unlink()
    if installing.RUNNING.is_dir():
        _require_success(manager, "daemon-reload")
    say(f"removed; kept: {manager.settings}, {manager.state}")


def _installed(manager: Manager) -> list[Path]:
    found = installing.installed(manager)
    if not found:
        raise ConfigurationError(f"no services are installed in {manager.unit_folder}: emm service install")
    return found


def _require_success(manager: Manager, *arguments: str) -> None:
    command = manager.command("systemctl", *arguments)
    if code := installing.run(command):
        raise SystemExit(code)
