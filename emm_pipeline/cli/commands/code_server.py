"""`emm code-server`: serve the definitions to Dagster's daemon and webserver."""

from __future__ import annotations

import click

from emm_pipeline.dagster_ext.saving_memory import saving_memory

DEFINITIONS, PRELOAD = "emm_pipeline.definitions", "emm_pipeline.preload"
PORT = 4000


@click.command("code-server")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", type=click.IntRange(1, 65535), default=PORT, show_default=True, help="Port to listen at.")
@click.option(
    "--log-level",
    type=click.Choice(["critical", "error", "warning", "info", "debug"]),
    default="info",
    show_default=True,
    help="Lowest level of the messages that it logs.",
)
@click.pass_context
def code_server(context: click.Context, host: str, port: int, log_level: str) -> None:
    """Serve EMM's jobs to Dagster's daemon and webserver, and execute the runs.

    The daemon and the webserver find it through workspace.yaml. It takes its settings from the environment,
    config/.env and config/.env.dev.

    Example: emm code-server --host 127.0.0.1 --port 4000
    """
    if context.obj:
        raise click.UsageError("--env-file has no effect here: put the settings into the environment or config/.env")
    with saving_memory():
        from emm_pipeline.dagster_ext.code_server import serve  # noqa: PLC0415  # Dagster takes 2 s to import

    serve(DEFINITIONS, PRELOAD, host, port, log_level)
