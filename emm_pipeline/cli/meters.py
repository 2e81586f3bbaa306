"""`emm meters …`: the meters of the configuration database."""

from __future__ import annotations

import click

from emm_pipeline.cli.meters_check import check_command


@click.group("meters")
def meters() -> None:
    """The meters."""


meters.add_command(check_command)
