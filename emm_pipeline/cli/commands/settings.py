"""`emm settings`: what every setting is, where it comes from, and whether the stack may start with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from emm_pipeline.cli.output import json_option, print_json, say
from emm_pipeline.cli.showing.tables import print_table
from emm_pipeline.credentials import example_names, is_loopback
from emm_pipeline.errors import ConfigurationError
from emm_pipeline.settings import all_variables, effective_settings, load_settings

if TYPE_CHECKING:
    from pathlib import Path


@click.group("settings", invoke_without_command=True)
@json_option
@click.pass_context
def settings(context: click.Context, as_json: bool) -> None:
    """Show every setting: its value (secrets masked), and where it comes from. Exits with 2 if one is wrong.

    Example: emm settings
    """
    if context.invoked_subcommand:
        return
    shown = effective_settings(*context.obj)
    if as_json:
        print_json(shown)
    else:
        print_table(("variable", "value", "from"), ((each["variable"], each["value"], each["from"]) for each in shown))
    load_settings(*context.obj)  # says what is wrong with them, if anything is


@settings.command("check")
@json_option
@click.pass_obj
def check(env_files: tuple[Path, ...], as_json: bool) -> None:
    """Check every setting, and that no example credential can be reached from other machines.

    Exits with 2 where a setting is wrong, or where EMM_BIND is no loopback address and a credential is still the
    example one.

    Example: emm settings check
    """
    loaded = load_settings(*env_files)
    bind = loaded.emm_bind
    unused = set() if loaded.run_launcher == "celery" else {"REDIS_PASSWORD"}  # nor does Redis start with the example
    examples = [name for name in example_names(all_variables(*env_files)) if name not in unused]
    if examples and not is_loopback(bind):
        raise ConfigurationError(
            f"EMM_BIND={bind} lets other machines in, and these still have the credentials that everybody knows from "
            f"config/.env.dev: {', '.join(examples)}. Run: make secrets"
        )
    if as_json:
        print_json({"valid": True, "example_credentials": examples})
    elif examples:
        say(f"settings are valid; example credentials, reached from this machine only: {', '.join(examples)}")
    else:
        say("settings are valid, and no credential is an example one")
