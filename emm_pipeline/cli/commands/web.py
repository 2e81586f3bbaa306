"""`emm web`: serve the page for people and the API for programs; its accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from emm_pipeline.access.engine import warning_of_engine
from emm_pipeline.cli.groups import CommandGroup
from emm_pipeline.cli.output import json_option, note, print_json, say
from emm_pipeline.config_db.web_state import StoredAccount, load_accounts, remove_account, save_account
from emm_pipeline.credentials import is_loopback, random_credential
from emm_pipeline.errors import ConfigurationError
from emm_pipeline.opening import open_config_database
from emm_pipeline.settings import current_settings, load_settings

if TYPE_CHECKING:
    from pathlib import Path

PORT = 3002


@click.group("web", cls=CommandGroup, invoke_without_command=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", type=click.IntRange(1, 65535), default=PORT, show_default=True, help="Port to listen at.")
@click.option("--no-login", is_flag=True, help="Require no login, as in the demo; only on 127.0.0.1.")
@click.pass_context
def web(context: click.Context, host: str, port: int, no_login: bool) -> None:
    """Serve the page with meters, values and charts, the API (/api/openapi.json) and metrics (/metrics).

    The first login is WEB_LOGIN_USER with WEB_LOGIN_PASSWORD. For polls on request it needs DAGSTER_API_URL.

    Example: emm web --port 3002
    """
    if context.invoked_subcommand:
        return
    from emm_pipeline.web.serving import serve  # noqa: PLC0415  # the web server takes a while to import

    env_files: tuple[Path, ...] = context.obj or ()
    if not is_loopback(host) and (warning := warning_of_engine(load_settings(*env_files).emm_bind)):
        note(warning)
    settings = (lambda: load_settings(*env_files)) if env_files else current_settings
    serve(settings, host, port, needs_login=not no_login)


@web.group("accounts")
def accounts() -> None:
    """The accounts of the page, besides WEB_LOGIN_USER."""


@accounts.command("list")
@json_option
@click.pass_obj
def list_command(env_files: tuple[Path, ...], as_json: bool) -> None:
    """Show the accounts.

    Example: emm web accounts list
    """
    settings = load_settings(*env_files)
    with open_config_database(settings) as engine:
        others = [account for account in load_accounts(engine) if account.name != settings.web_login_user]
    if as_json:
        rights = {settings.web_login_user: True} | {account.name: account.may_change for account in others}
        print_json([{"name": name, "may_change": may_change} for name, may_change in rights.items()])
        return
    say(f"{settings.web_login_user}: WEB_LOGIN_USER, may change everything")
    for account in others:
        say(f"{account.name}: {'may change everything' if account.may_change else 'may read only'}")


@accounts.command("add")
@click.argument("name")
@click.option("--read-only", is_flag=True, help="The account may change nothing.")
@json_option
@click.pass_obj
def add_command(env_files: tuple[Path, ...], name: str, read_only: bool, as_json: bool) -> None:
    """Create an account with a random password, which is printed once; of an existing one, replace the password.

    Example: emm web accounts add anna --read-only
    """
    from emm_pipeline.web.security.accounts import hashed  # noqa: PLC0415

    settings = load_settings(*env_files)
    if not name.isidentifier() and not name.replace("-", "_").replace(".", "_").isidentifier():
        raise ConfigurationError(f"{name!r} is not a name for an account: use letters, digits, -, _ and .")
    if name == settings.web_login_user:
        raise ConfigurationError(f"{name} is WEB_LOGIN_USER, whose password is WEB_LOGIN_PASSWORD")
    password = random_credential()
    with open_config_database(settings) as engine:
        save_account(engine, StoredAccount(name, hashed(password), None, not read_only))
    if as_json:
        print_json({"name": name, "password": password, "may_change": not read_only})
    else:
        say(f"account {name}, password {password}")


@accounts.command("remove")
@click.argument("name")
@json_option
@click.pass_obj
def remove_command(env_files: tuple[Path, ...], name: str, as_json: bool) -> None:
    """Remove an account; its sessions end. For WEB_LOGIN_USER: WEB_LOGIN_PASSWORD applies again.

    Example: emm web accounts remove anna
    """
    with open_config_database(load_settings(*env_files)) as engine:
        if not remove_account(engine, name):
            raise ConfigurationError(f"there is no account {name!r} with a password of its own")
    if as_json:
        print_json({"removed": name})
    else:
        say(f"removed {name}")
