"""`emm status`: whether everything is fine, and if not, what has failed, since when, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from emm_pipeline.cli.output import json_option, print_json
from emm_pipeline.cli.showing.status_screen import print_screen
from emm_pipeline.condition.parts import pipeline_condition
from emm_pipeline.condition.records import pipeline_record
from emm_pipeline.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path


@click.command("status")
@json_option
@click.pass_obj
def status(env_files: tuple[Path, ...], as_json: bool) -> None:
    """Show whether everything is fine, and if not, what has failed, since when, and what to do.

    Checks PostgreSQL, Dagster, the code server, the schedule, the store, the outbox, the clock and every meter. If one
    of them is unavailable, it still shows the others. Exits with 0 if all is fine, 1 if something is degraded or waits
    for the store, 2 if something is failing, stale, misconfigured or unknown.

    Example: emm status
    """
    condition = pipeline_condition(load_settings(*env_files))
    if as_json:
        print_json(pipeline_record(condition))
    else:
        print_screen(condition)
    raise SystemExit(condition.exit_code)
