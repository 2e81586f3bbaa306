"""`emm secrets …`: create the stack's credentials, apply them to the servers, and rotate them."""

from __future__ import annotations

from pathlib import Path

import click

from emm_pipeline.access.folders import AccessFolders
from emm_pipeline.access.stack import GRAFANA_URL, StackAccess, create_credentials
from emm_pipeline.access.vault import Vault
from emm_pipeline.cli.groups import CommandGroup
from emm_pipeline.cli.output import say
from emm_pipeline.settings import all_variables, load_settings

SERVERS = ("postgres", "influxdb", "grafana", "dagster", "redis", "web")

_folder = click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("/run/emm"),
    show_default=True,
    help="Folder with the stack's credentials.",
)
_grafana_url = click.option("--grafana-url", default=GRAFANA_URL, show_default=True, help="Grafana's URL.")


@click.group("secrets", cls=CommandGroup)
def secrets() -> None:
    """The stack's credentials: random ones, unless you set your own."""


@secrets.command("create")
@_folder
@click.pass_obj
def create(env_files: tuple[Path, ...], folder: Path) -> None:
    """Create a random credential for each one that you have not set, and write them to files for the services.

    The stack runs this command first. It is safe to run it again: existing credentials are kept.

    Example: emm secrets create
    """
    folders = AccessFolders(folder)
    create_credentials(folders, Vault(folders.secrets, all_variables(*env_files)), say)


@secrets.command("apply")
@click.argument("server", type=click.Choice(("postgres", "influxdb", "grafana")))
@_folder
@_grafana_url
@click.pass_obj
def apply(env_files: tuple[Path, ...], server: str, folder: Path, grafana_url: str) -> None:
    """Make a server accept the current credentials instead of the example ones or the previous ones.

    The stack runs this command at each start. It is safe to run it again. A password that the stack does not know is
    not changed.

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
    """Replace a server's credentials in the server, in the files and in running services; the old ones become invalid.

    Polling continues. In the stack: docker compose run --rm init emm secrets rotate postgres

    Example: emm secrets rotate postgres
    """
    stack = _stack(env_files, folder, grafana_url)
    rotations = {
        "postgres": stack.rotate_postgres,
        "influxdb": stack.rotate_influxdb,
        "grafana": stack.rotate_grafana,
        "dagster": stack.rotate_dagster,
        "redis": stack.rotate_redis,
        "web": stack.rotate_web,
    }
    rotations[server]()


def _stack(env_files: tuple[Path, ...], folder: Path, grafana_url: str = GRAFANA_URL) -> StackAccess:
    return StackAccess(folder, load_settings(*env_files), all_variables(*env_files), say, grafana_url)
