"""`emm demo`: run all of EMM on this machine, without an installed server.

The demo starts an embedded PostgreSQL, the virtual meter on a real socket, and Dagster's webserver, daemon and code
server. It keeps its data between runs, and stops everything that it started.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from emm_pipeline.cli.demo.place import default_data_dir
from emm_pipeline.cli.demo.stack import DemoStack
from emm_pipeline.cli.folder_lock import folder_lock
from emm_pipeline.cli.local_time import time_of_day
from emm_pipeline.cli.output import say
from emm_pipeline.cli.progress import progress
from emm_pipeline.cli.showing.readings import print_readings, records_of
from emm_pipeline.cli.showing.tables import console, shown
from emm_pipeline.errors import ConfigurationError, EmmError
from emm_pipeline.stores.texts import number_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

UI_PORT, WEB_PORT = 3001, 3002
FEW_VALUES = 3
"""Up to this number of values of a poll are printed; the page shows all of them."""


@click.command("demo")
@click.option("--once", is_flag=True, help="Discover and poll once, then stop. Exits with 1 if nothing was stored.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=UI_PORT,
    show_default=True,
    help="Port of Dagster's UI on 127.0.0.1.",
)
@click.option(
    "--web-port",
    type=click.IntRange(1, 65535),
    default=WEB_PORT,
    show_default=True,
    help="Port of the page with meters and values on 127.0.0.1.",
)
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder for the demo's data.")
def demo(once: bool, port: int, web_port: int, data_dir: Path | None) -> None:
    """Poll the virtual meter on this machine, print the readings, and continue on schedule until Ctrl-C.

    Example: emm demo --once
    """
    data_dir = (data_dir or default_data_dir()).absolute()
    with _stop_on_signals(), _only_one(data_dir), DemoStack(data_dir) as stack:
        if not once:
            _claim_port(port, "--port")
            _claim_port(web_port, "--web-port")
        with progress("starting PostgreSQL and the virtual meter"):
            stack.start_meter()
        if not once:
            with progress("starting the page"):
                stack.start_web(web_port, port)
            console().print(f"[bold]page[/]        {_web_url(web_port)}\n", soft_wrap=True, highlight=False)
            stack.start_dagster(port)
        with progress("discovering and polling"):
            readings, failures = stack.discover_and_poll()
        if len(readings):
            print_readings(readings)
        for failure in failures:
            say(failure)
        if not len(readings):
            raise EmmError("nothing was stored")
        if once:
            return
        with progress("starting Dagster"):
            stack.wait_for_ui(port)
        _print_addresses(stack, port, web_port)
        _follow(stack)


def _web_url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def _print_addresses(stack: DemoStack, port: int, web_port: int) -> None:
    env_file = stack.env_file
    console().print(
        f"\n[bold]page[/]        {_web_url(web_port)}   add meters: {_web_url(web_port)}/add"
        f"\n[bold]Dagster[/]     http://127.0.0.1:{port}   meters: http://127.0.0.1:{port}/assets/meter_readings"
        f"\n[bold]database[/]    {stack.psql_command}"
        f"\n[bold]poll now[/]    {Path(sys.argv[0]).absolute()} --env-file {env_file} poll --dry-run"
        f"\n[bold]all fine?[/]   {Path(sys.argv[0]).absolute()} --env-file {env_file} status"
        f"\n[bold]logs[/]        {stack.log_dir}"
        "\n\nPolling on schedule; Ctrl-C stops everything.\n",
        soft_wrap=True,
        highlight=False,
    )


def _follow(stack: DemoStack) -> None:
    """Print a line for each poll until a signal is received or a process ends by itself."""
    try:
        while True:
            stack.check()
            if rows := records_of(stack.new_readings()):
                say(f"{time_of_day(rows[0]['time'])}  {_in_one_line(rows)}")
            for line in stack.status_changes():
                say(line)
            time.sleep(1)
    except KeyboardInterrupt:
        say("stopping …")


def _in_one_line(rows: Sequence[dict[str, Any]]) -> str:
    """Return the values of a poll, or their number if there are many."""
    if len(rows) > FEW_VALUES:
        return f"{number_of(len({row['id'] for row in rows}), 'meter')} read, {len(rows)} values"
    values = (f"{row['measurement']} = {shown(row['value'])} {row['unit'] or ''}".rstrip() for row in rows)
    return ", ".join(f"meter {row['id']}  {value}" for row, value in zip(rows, values, strict=True))


@contextmanager
def _stop_on_signals() -> Iterator[None]:
    """Make SIGTERM and SIGHUP end the demo as Ctrl-C does."""

    def interrupt(_signal: int, _frame: object) -> None:
        # A second signal must not interrupt the clean-up.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _only_one(data_dir: Path) -> AbstractContextManager[None]:
    """Create the folder; return its lock."""
    try:
        data_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as err:
        raise ConfigurationError(f"{data_dir} cannot be created ({err.strerror}): choose another --data-dir") from None
    if data_dir.stat().st_uid != os.geteuid():
        raise ConfigurationError(f"{data_dir} belongs to another user: choose a folder with --data-dir")
    return folder_lock(data_dir, f"another demo is running on {data_dir}")


def _claim_port(port: int, option: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as err:
            raise ConfigurationError(
                f"127.0.0.1:{port} cannot be used ({err.strerror}): choose another port with {option}"
            ) from None
