"""`emm daemon`: Dagster's daemon."""

from __future__ import annotations

from pathlib import Path

import click

from emm_pipeline.dagster_ext.saving_memory import saving_memory
from emm_pipeline.settings import PRODUCT_FILES


@click.command("daemon")
@click.option(
    "--workspace",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The file that says where the code server is; default: workspace.yaml here, or in the checkout.",
)
def daemon(workspace: Path | None) -> None:
    """Run Dagster's daemon, which starts discoveries and polls on schedule. Run one per installation.

    DAGSTER_HOME names Dagster's instance.

    Example: emm daemon --workspace workspace.yaml
    """
    with saving_memory():
        from emm_pipeline.dagster_ext.daemon import serve  # noqa: PLC0415  # Dagster takes 2 s to import

    here = Path("workspace.yaml")
    serve(workspace or (here if here.exists() else PRODUCT_FILES / here))
