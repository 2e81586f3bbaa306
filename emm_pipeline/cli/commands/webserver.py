"""`emm webserver`: serve Dagster's pages, with a login and a check of each request's origin."""

from __future__ import annotations

from pathlib import Path

import click

from emm_pipeline.access.engine import warning_of_engine
from emm_pipeline.cli.output import note
from emm_pipeline.credentials import is_loopback
from emm_pipeline.dagster_ext.saving_memory import saving_memory
from emm_pipeline.settings import PRODUCT_FILES, current_settings

PORT = 3001


@click.command("webserver")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", type=click.IntRange(1, 65535), default=PORT, show_default=True, help="Port to listen at.")
@click.option(
    "--workspace",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="File with the code server's address; default: workspace.yaml here, or in the checkout.",
)
def webserver(host: str, port: int, workspace: Path | None) -> None:
    """Serve Dagster's web UI. Requests from other web pages are refused; browsers on other machines must log in.

    DAGSTER_HOME is the folder of Dagster's instance. The login is DAGSTER_LOGIN_USER with DAGSTER_LOGIN_PASSWORD.

    Example: emm webserver --host 127.0.0.1 --port 3001
    """
    with saving_memory():
        from emm_pipeline.dagster_ext.webserver import serve  # noqa: PLC0415  # Dagster takes 2 s to import

    if not is_loopback(host) and (warning := warning_of_engine(current_settings().emm_bind)):
        note(warning)
    here = Path("workspace.yaml")
    serve(workspace or (here if here.exists() else PRODUCT_FILES / here), host, port)
