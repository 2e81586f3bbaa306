"""`emm settings`: show every setting and its source, show the logins, and check whether the stack can start."""

from __future__ import annotations

from pathlib import Path

import click

from emm_pipeline.access.engine import warning_of_engine
from emm_pipeline.access.folders import AccessFolders
from emm_pipeline.access.vault import CREDENTIALS, Vault
from emm_pipeline.cli.groups import CommandGroup
from emm_pipeline.cli.output import json_option, note, print_json, say
from emm_pipeline.cli.showing.effective_settings import effective_settings
from emm_pipeline.cli.showing.tables import print_table
from emm_pipeline.cli.unknown_variables import unknown_variables
from emm_pipeline.credentials import example_names, is_loopback
from emm_pipeline.settings import all_variables, load_settings

LOGINS = (
    ("Grafana", "GF_SECURITY_ADMIN_USER", "admin", "GF_SECURITY_ADMIN_PASSWORD", "GRAFANA_PUBLISHED_PORT"),
    ("Dagster", "DAGSTER_LOGIN_USER", "admin", "DAGSTER_LOGIN_PASSWORD", "DAGSTER_PUBLISHED_PORT"),
    ("web page", "WEB_LOGIN_USER", "admin", "WEB_LOGIN_PASSWORD", "WEB_PUBLISHED_PORT"),
)
"""For each page: its name, the user's variable and its default, and the variables of the password and the port."""


@click.group("settings", cls=CommandGroup, invoke_without_command=True)
@json_option
@click.option(
    "--show-secrets", is_flag=True, help="Print the logins for Grafana, Dagster's pages and the web page instead."
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("/run/emm"),
    show_default=True,
    help="Folder with the stack's credentials.",
)
@click.pass_context
def settings(context: click.Context, as_json: bool, show_secrets: bool, folder: Path) -> None:
    """Show every setting: its value (secrets masked) and its source. Exits with 2 if one is invalid.

    To show the logins of the stack: docker compose run --rm check emm settings --show-secrets

    Example: emm settings
    """
    if context.invoked_subcommand:
        return
    if show_secrets:
        _print_logins(all_variables(*context.obj), folder, as_json=as_json)
        return
    shown = effective_settings(*context.obj)
    if as_json:
        print_json(shown)
    else:
        print_table(("variable", "value", "from"), ((each["variable"], each["value"], each["from"]) for each in shown))
    for line in unknown_variables(context.obj, environment=True):
        note(line)
    load_settings(*context.obj)  # reports invalid settings


def _print_logins(variables: dict[str, str], folder: Path, *, as_json: bool) -> None:
    vault = Vault(AccessFolders(folder).secrets, variables)
    logins = [
        {
            "what": what,
            "port": variables.get(port, ""),
            "user": variables.get(user) or default,
            "password": vault.value(password),
        }
        for what, user, default, password, port in LOGINS
    ]
    if as_json:
        print_json(logins)
    else:
        print_table(("what", "port", "user", "password"), (tuple(login.values()) for login in logins))


@settings.command("check")
@json_option
@click.pass_obj
def check(env_files: tuple[Path, ...], as_json: bool) -> None:
    """Check every setting, and show which credentials you have set. The stack creates random ones for the others.

    In a container it also warns if the Docker engine lets the local network reach ports on 127.0.0.1. Exits with 2 if a
    setting is invalid.

    Example: emm settings check
    """
    loaded = load_settings(*env_files)
    variables = all_variables(*env_files)
    unset = [name for name in CREDENTIALS if not variables.get(name) or name in example_names(variables)]
    if as_json:
        unknown = unknown_variables(env_files, environment=True)
        print_json({"valid": True, "generated_credentials": unset, "unknown": unknown})
        return
    say("settings are valid")
    for line in unknown_variables(env_files, environment=True):
        say(line)
    if loaded.mail_issue:
        say(f"WARNING: {loaded.mail_issue}")
    if unset:
        say(f"credentials that you have not set, or only to a published example: {', '.join(unset)}")
        say("`emm secrets create` makes random ones in their place; the stack runs it at its start")
    else:
        say("every credential is yours")
    if not is_loopback(loaded.emm_bind):
        say(f"EMM_BIND={loaded.emm_bind} lets other machines open Grafana, Dagster and the page, which ask for a login")
    if warning := warning_of_engine(loaded.emm_bind):
        say(warning)
