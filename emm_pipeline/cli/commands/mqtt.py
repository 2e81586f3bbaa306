"""`emm mqtt`: publish each poll's values to an MQTT broker, and show how publishing goes."""

from __future__ import annotations

import logging
import signal
import threading
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

import click

from emm_pipeline.cli.folder_lock import folder_lock
from emm_pipeline.cli.groups import CommandGroup
from emm_pipeline.cli.local_time import since
from emm_pipeline.cli.output import json_option, print_json, say
from emm_pipeline.errors import ConfigurationError
from emm_pipeline.mqtt.state import publishing, read_state
from emm_pipeline.settings import load_settings
from emm_pipeline.status import exit_code
from emm_pipeline.stores.outbox.copies import BatchCopies

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path


@click.group("mqtt", cls=CommandGroup, invoke_without_command=True)
@click.option(
    "--values-only",
    is_flag=True,
    help="Publish only values and availability: for further hosts with Celery workers, beside the main `emm mqtt`.",
)
@click.pass_context
def mqtt(context: click.Context, values_only: bool) -> None:
    """Publish each poll's values to the broker at MQTT_URL, until it is stopped. Run one per host that polls.

    Polls put their values into the outbox's folder `mqtt` and never wait for the broker.

    Example: emm mqtt
    """
    if context.invoked_subcommand:
        return
    # The broker's client takes a while to import.
    from emm_pipeline.mqtt.options import broker_of, load_published_fleet, options_of, valid_for  # noqa: PLC0415
    from emm_pipeline.mqtt.publisher import Publisher  # noqa: PLC0415
    from emm_pipeline.opening import open_config_database  # noqa: PLC0415

    env_files: tuple[Path, ...] = context.obj
    settings = load_settings(*env_files)
    options = options_of(settings, version("emm-pipeline"), values_only=values_only)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    copies = BatchCopies(settings.outbox_folder)
    with _only_one(copies.folder), open_config_database(settings) as engine, _stop_on_signals() as stopped:
        Publisher(
            copies,
            lambda: load_published_fleet(engine),
            lambda: broker_of(load_settings(*env_files)),
            lambda: valid_for(settings.poll_trigger),
            options,
        ).run(stopped.is_set)


def _only_one(folder: Path) -> AbstractContextManager[None]:
    """Create the folder; return its lock."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise ConfigurationError(f"{folder} cannot be used ({err.strerror}); OUTBOX_DIR names its parent") from None
    return folder_lock(folder, f"another `emm mqtt` publishes from {folder}")


@contextmanager
def _stop_on_signals() -> Iterator[threading.Event]:
    stopped = threading.Event()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: stopped.set()) for number in numbers}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@mqtt.command("status")
@json_option
@click.pass_obj
def status(env_files: tuple[Path, ...], as_json: bool) -> None:
    """Show whether values are published; if not, why, since when, and what to do.

    Exits with 0 if they are, or if MQTT_URL is empty; 1 if the broker is unavailable or something is not published; 2
    if `emm mqtt` does not run. `emm status` shows the same in one line.

    Example: emm mqtt status
    """
    settings = load_settings(*env_files)
    state = read_state(BatchCopies(settings.outbox_folder).folder)
    found = publishing(state, settings.mqtt_url, datetime.now(UTC))
    if as_json:
        print_json({**(asdict(found) if found else {"state": "off"}), "publisher": asdict(state) if state else None})
    elif found is None:
        say("MQTT off: MQTT_URL is empty")
    else:
        say(f"MQTT {found.state}{since(found.since)}: {found.reason}")
        if state and state.dropped:
            say(f"{state.dropped} meter readings dropped since the start: replaced by newer ones, or too old")
        if found.what_to_do:
            say(f"to do: {found.what_to_do}")
    raise SystemExit(exit_code([found.state] if found else []))
