"""`emm outbox`: show and load points that wait for the store, and rejected points."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from emm_pipeline.cli.groups import CommandGroup
from emm_pipeline.cli.local_time import shown_time, zone_name
from emm_pipeline.cli.output import json_option, note, print_json, say
from emm_pipeline.cli.progress import progress
from emm_pipeline.cli.showing.tables import print_table, shown
from emm_pipeline.errors import ConfigurationError
from emm_pipeline.opening import open_delivery, open_outbox
from emm_pipeline.settings import load_settings
from emm_pipeline.stores.outbox.file import DamagedFileError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from emm_pipeline.stores.outbox.folder import Outbox, OutboxFile

ROWS_SHOWN = 20


@click.group("outbox", cls=CommandGroup, invoke_without_command=True)
@json_option
@click.pass_context
def outbox(context: click.Context, as_json: bool) -> None:
    """Show the points that wait for the store and those that it rejected. Exits with 1 if any wait.

    Example: emm outbox
    """
    if context.invoked_subcommand:
        return
    box = open_outbox(load_settings(*context.obj))
    waiting, rejected = box.waiting(), box.rejected()
    if as_json:
        print_json(_as_json(box, waiting, rejected))
    else:
        _print(box, waiting, rejected)
    if waiting:
        raise SystemExit(1)


@outbox.command("replay")
@click.option("--rejected", is_flag=True, help="Also load rejected points; for use once the cause is removed.")
@json_option
@click.pass_obj
def replay_command(env_files: tuple[Path, ...], rejected: bool, as_json: bool) -> None:
    """Load the points that wait into the store, oldest first. Exits with 1 if any still wait or were rejected.

    The replay job does the same as soon as the store answers; both can run at the same time.

    Example: emm outbox replay
    """
    settings = load_settings(*env_files)
    box = open_outbox(settings)
    unreadable = box.put_back_rejected().problems if rejected else []
    files = len(box.names())
    with progress(f"loading {files} files", files) as advance, open_delivery(settings) as delivery:
        done = delivery.replay(advance)
    problems = [*unreadable, *done.problems]
    if as_json:
        print_json({"files": done.files, "points": done.points, "busy": done.busy, "problems": problems})
    else:
        say(f"{done.points} points of {done.files} files loaded")
    for problem in problems:
        note(problem)
    if problems or done.busy:
        raise SystemExit(1)


@outbox.command("show")
@click.argument("name", metavar="FILE")
@json_option
@click.pass_obj
def show(env_files: tuple[Path, ...], name: str, as_json: bool) -> None:
    """Show the points in a file of the outbox. FILE is a name that `emm outbox` shows.

    Example: emm outbox show 20260301T120000.000000Z-3f0c9a52.points
    """
    from emm_pipeline.stores.outbox.rejected import records  # noqa: PLC0415 - imports NumPy

    box = open_outbox(load_settings(*env_files))
    try:
        points = box.read(name)
    except DamagedFileError as err:
        raise ConfigurationError(str(err)) from err
    if as_json:
        print_json(list(records(points)))
    else:
        columns = (f"time ({zone_name()})", "meter", "description", "measurement", "value", "unit")
        print_table(columns, (_cells(record) for record in records(points)))


def _cells(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a point as a row of a table; the value of a point of `emm_poll` is the poll's status."""
    went = "ok" if record.get("ok") else record.get("error") or "failed"
    value = shown(record["value"]) if "value" in record else went
    time = shown_time(datetime.fromisoformat(record["time"]))
    texts = (record["description"], record["measurement"], value, record.get("unit"))
    return (time, str(record["id"]), *(text or "" for text in texts))


def _print(box: Outbox, waiting: Sequence[OutboxFile], rejected: Sequence[OutboxFile]) -> None:
    say(f"outbox {box.folder}")
    if not waiting:
        say("no points wait")
    else:
        _print_files("waits", waiting)
        say(f"{_sum(waiting)} wait; the oldest: {waiting[0].name}")
        if error := box.last_error():
            say(f"last error: {error}")
    if rejected:
        _print_files("rejected", rejected)
        say(f"{_sum(rejected)} rejected: they stay in {box.rejected_folder} until someone deletes them")


def _print_files(title: str, files: Sequence[OutboxFile]) -> None:
    """Print the first files, oldest first."""
    headers = (title, "points", "kB", "reason" if any(file.reason for file in files) else "")
    rows = ((file.name, file.points, file.size // 1000, file.reason) for file in files[:ROWS_SHOWN])
    print_table(headers, rows, right=("points", "kB"))
    if len(files) > ROWS_SHOWN:
        say(f"and {len(files) - ROWS_SHOWN} more")


def _sum(files: Sequence[OutboxFile]) -> str:
    megabytes = sum(file.size for file in files) / 1_000_000
    return f"{sum(file.points for file in files)} points in {len(files)} files, {megabytes:.1f} MB,"


def _as_json(box: Outbox, waiting: Sequence[OutboxFile], rejected: Sequence[OutboxFile]) -> dict[str, object]:
    return {
        "folder": str(box.folder),
        "waiting": [asdict(file) for file in waiting],
        "rejected": [asdict(file) for file in rejected],
        "last_error": box.last_error() if waiting else None,
    }
