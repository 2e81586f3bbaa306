"""`emm backup` and `emm restore`: the whole installation in one file."""

from __future__ import annotations

import signal
import threading
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import click
from pydantic import SecretStr

from emm_pipeline.access.stack import StackAccess
from emm_pipeline.alerts.channels import channels_of
from emm_pipeline.alerts.rules import FAILURES, Condition
from emm_pipeline.alerts.watchdog import WatchdogState
from emm_pipeline.backup.installation import Installation
from emm_pipeline.backup.schedule import file_name, newest, next_time, remove_old
from emm_pipeline.cli.output import note, say
from emm_pipeline.errors import ConfigurationError, EmmError
from emm_pipeline.settings import ENV_FILES, Settings, all_variables, load_settings

if TYPE_CHECKING:
    from collections.abc import Callable

STACK = Path("/run/emm")
IN_STACK = {"grafana": Path("/var/lib/grafana"), "proxy": Path("/var/lib/emm/proxy")}
SETTINGS_IN_STACK = Path("/etc/emm/config/.env")
MISSED_AFTER = timedelta(hours=25)
"""Age of the newest daily backup from which the next one is made at once."""

_folder = click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=STACK,
    show_default=True,
    help="Folder with the stack's credentials.",
)
_grafana = click.option("--grafana", type=click.Path(path_type=Path, file_okay=False), help="Grafana's data folder.")


@click.command("backup")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), required=False)
@click.option("--daily", is_flag=True, help="Make one each day at BACKUP_TIME in BACKUP_DIR, until Ctrl-C.")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@click.option("--no-history", is_flag=True, help="Leave out Dagster's run history.")
@_grafana
@_folder
@click.pass_obj
def backup(
    env_files: tuple[Path, ...],
    file: Path | None,
    daily: bool,
    force: bool,
    no_history: bool,
    grafana: Path | None,
    folder: Path,
) -> None:
    """Save the whole installation in FILE, while EMM runs: both databases, the readings, the outbox and config/.env.

    In the stack also Grafana's data, the credentials and the proxy's certificate authority. The file contains
    credentials; only its owner can read it.

    Example: emm backup emm.zip
    """
    if daily == bool(file):
        raise click.UsageError("give either a FILE or --daily")
    if daily:
        _run_daily(env_files, folder, grafana)
        return
    if file and file.exists() and not force:
        raise ConfigurationError(f"{file} exists: choose another name, or --force")
    settings = load_settings(*env_files)
    assert file is not None  # noqa: S101  # as checked above
    _installation(env_files, settings, folder, grafana, to_read=True).save(file, history=not no_history)


@click.command("restore")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--force", is_flag=True, help="Also if there are meters, or EMM runs. They are replaced.")
@_grafana
@_folder
@click.pass_obj
def restore(env_files: tuple[Path, ...], file: Path, force: bool, grafana: Path | None, folder: Path) -> None:
    """Restore an installation from FILE, which `emm backup` has made. Stop EMM first.

    The whole file is checked before anything is changed. Each database is restored completely or not at all.

    Example: emm restore emm.zip
    """
    from emm_pipeline.cli.commands.database import upgrade_databases  # noqa: PLC0415  # Dagster takes 2 s to import

    settings = load_settings(*env_files)
    installation = _installation(env_files, settings, folder, grafana, to_read=False)
    installation.restore(file, lambda: upgrade_databases(installation.settings, say), force=force)
    say("restored; start EMM now")


def _installation(
    env_files: tuple[Path, ...], settings: Settings, folder: Path, grafana: Path | None, *, to_read: bool
) -> Installation:
    variables = all_variables(*env_files)
    if not (folder / "secrets").is_dir():
        token = settings.influxdb_token.get_secret_value()
        read = settings.influxdb_read_token.get_secret_value() or token
        return Installation(
            settings, read if to_read else token, say, variables, grafana=grafana, settings_file=ENV_FILES[1]
        )
    stack = StackAccess(folder, settings, variables, say)
    password = SecretStr(stack.postgres_password())
    return Installation(
        settings.model_copy(update={"postgres_password": password, "dagster_postgres_user": ""}),
        stack.influxdb_token(),
        say,
        variables,
        secrets=folder / "secrets",
        grafana=grafana or IN_STACK["grafana"],
        proxy=IN_STACK["proxy"],
        settings_file=SETTINGS_IN_STACK if SETTINGS_IN_STACK.parent.is_dir() else None,
    )


def _run_daily(env_files: tuple[Path, ...], folder: Path, grafana: Path | None) -> None:
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    settings = load_settings(*env_files)
    if settings.backup_dir is None:
        raise ConfigurationError("BACKUP_DIR is not set: the folder of the daily backups")
    target = settings.backup_dir
    state = WatchdogState.load(target / ".alerts.json")
    last = newest(target)
    due = datetime.now(UTC)
    if last and due - last < MISSED_AFTER:
        due = _due(settings)
    while True:
        say(f"next backup at {due:%Y-%m-%d %H:%M} {settings.tz}, in {target}")
        if ended.wait(max(0.0, (due - datetime.now(UTC)).total_seconds())):
            return
        try:
            settings = load_settings(*env_files)
            make = partial(_installation, env_files, settings, folder, grafana, to_read=True)
            _back_up_once(settings, target, state, make)
        except EmmError as err:
            note(f"error: {err}")
        due = _due(settings)


def _due(settings: Settings) -> datetime:
    hour, minute = map(int, settings.backup_time.split(":"))
    return next_time(datetime.now(UTC), hour, minute, ZoneInfo(settings.tz))


def _back_up_once(
    settings: Settings, target: Path, state: WatchdogState, installation: Callable[[], Installation]
) -> None:
    """Make a backup, remove old ones, and report a failure or a recovery by the channels of alerts."""
    began = datetime.now(UTC)
    name = "the daily backup"
    try:
        installation().save(target / file_name(began.astimezone(ZoneInfo(settings.tz))))
        for old in remove_old(target, settings.backup_keep):
            say(f"{old}: removed")
        condition = Condition("backup", name, last_ok_at=datetime.now(UTC))
    except (EmmError, OSError) as err:
        note(f"error: {err}")
        condition = Condition("backup", name, FAILURES, began, str(err))
    channels = channels_of(settings)
    for line in state.look([condition], ZoneInfo(settings.tz), [channel.name for channel in channels]):
        say(line.text)
    state.send(channels, settings.logger_notification_email_subject, note)
    state.save()
