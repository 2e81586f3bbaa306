"""`emm settings check`: may the stack start with these settings?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from emm_pipeline.credentials import example_names, is_loopback
from emm_pipeline.errors import ConfigurationError
from emm_pipeline.settings import all_variables, load_settings

if TYPE_CHECKING:
    from pathlib import Path


@click.group("settings")
def settings() -> None:
    """The settings in config/.env.dev and config/.env."""


@settings.command("check")
@click.pass_obj
def check(env_files: tuple[Path, ...]) -> None:
    """Check every setting, and that no example credential can be reached from other machines.

    Exits with 2 where a setting is wrong, or where EMM_BIND is no loopback address and a credential is still the
    example one.

    Example: emm settings check
    """
    bind = load_settings(*env_files).emm_bind
    examples = example_names(all_variables(*env_files))
    if examples and not is_loopback(bind):
        raise ConfigurationError(
            f"EMM_BIND={bind} lets other machines in, and these still have the credentials that everybody knows from "
            f"config/.env.dev: {', '.join(examples)}. Run: make secrets"
        )
    if examples:
        print(f"settings are valid; example credentials, reached from this machine only: {', '.join(examples)}")
    else:
        print("settings are valid, and no credential is an example one")
