"""`emm secrets …`: the stack's own credentials: made, taken over by the servers, and rotated."""

from __future__ import annotations

from pathlib import Path

import click

from emm_pipeline.access.stack import GRAFANA_URL, StackAccess
from emm_pipeline.cli.output import say
from emm_pipeline.settings import all_variables, load_settings

SERVERS = ("postgres", "influxdb", "grafana", "dagster", "redis")

_folder = click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("/run/emm"),
    show_default=True,
    help="Where the stack's credentials are.",
)
_grafana_url = click.option("--grafana-url", default=GRAFANA_URL, show_default=True, help="Where Grafana is.")


@click.group("secrets")
def secrets() -> None:
    """The stack's credentials: random ones, unless you set your own."""


@secrets.command("create")
@_folder
@click.pass_obj
def create(env_files: tuple[Path, ...], folder: Path) -> None:
    """Make a random credential for each that you have not set, and write what the services find when they start.

    The stack runs it first. Safe to run again: what is there is kept.

    Example: emm secrets create
    """
    _stack(env_files, folder).create()


@secrets.command("apply")
@click.argument("server", type=click.Choice(("postgres", "influxdb", "grafana")))
@_folder
@_grafana_url
@click.pass_obj
def apply(env_files: tuple[Path, ...], server: str, folder: Path, grafana_url: str) -> None:
    """Let a server accept the credentials in force in place of the example ones or of those before.

    The stack runs it at each start. Safe to run again. A password that the stack has never known is left as it is.

    Example: emm secrets apply postgres
    """
    stack = _stack(env_files, folder, grafana_url)
    {"postgres": stack.apply_postgres, "influxdb": stack.apply_influxdb, "grafana": stack.apply_grafana}[server]()


@secrets.command("rotate")
@click.argument("server", type=click.Choice(SERVERS))
@_folder
@_grafana_url
@click.pass_obj
def rotate(env_files: tuple[Path, ...], server: str, folder: Path, grafana_url: str) -> None:
    """Replace a server's credentials: in the server, in the files and in what runs. The old ones are refused then.

    Polling goes on. In the stack: docker compose run --rm init emm secrets rotate postgres

    Example: emm secrets rotate postgres
    """
    stack = _stack(env_files, folder, grafana_url)
    rotations = {
        "postgres": stack.rotate_postgres,
        "influxdb": stack.rotate_influxdb,
        "grafana": stack.rotate_grafana,
        "dagster": stack.rotate_dagster,
        "redis": stack.rotate_redis,
    }
    rotations[server]()


def _stack(env_files: tuple[Path, ...], folder: Path, grafana_url: str = GRAFANA_URL) -> StackAccess:
    return StackAccess(folder, load_settings(*env_files), all_variables(*env_files), say, grafana_url)
