"""`emm influxdb setup`: create InfluxDB tokens that allow each service only what it needs."""

from __future__ import annotations

from pathlib import Path

import click

from emm_pipeline.cli.groups import CommandGroup
from emm_pipeline.cli.output import say
from emm_pipeline.credentials import write_file
from emm_pipeline.settings import Settings, load_settings
from emm_pipeline.stores.influxdb.setup import InfluxSetup, Tokens
from emm_pipeline.stores.influxdb.store import require_access

_READABLE = 0o444
"""Readable by all, because Grafana runs as another user; the folder's mode decides who can reach the file."""


@click.group("influxdb", cls=CommandGroup)
def influxdb() -> None:
    """Create InfluxDB's tokens."""


@influxdb.command("setup")
@click.option("--write-token", type=click.Path(path_type=Path), required=True, help="File for the pipeline's token.")
@click.option("--read-token", type=click.Path(path_type=Path), required=True, help="File for Grafana's token.")
@click.option("--database", type=click.Path(path_type=Path), required=True, help="File for the name Grafana asks for.")
@click.pass_obj
def setup(env_files: tuple[Path, ...], write_token: Path, read_token: Path, database: Path) -> None:
    """Create a token that can only write and one that can only read, and write them to files.

    Tokens are created only if INFLUXDB_TOKEN equals DOCKER_INFLUXDB_INIT_ADMIN_TOKEN; a token of your own is kept. If
    InfluxDB no longer accepts a token in these files, the command replaces both and revokes the old ones. It is safe to
    run it again. Exits with 1 if InfluxDB does not let the pipeline write with the token.

    Example: emm influxdb setup --write-token write --read-token read --database database
    """
    settings = load_settings(*env_files)
    name, _, _policy = settings.influxdb_bucket.partition("/")
    existing = _kept(write_token, read_token)
    server = InfluxSetup(
        settings.influxdb_url,
        settings.docker_influxdb_init_admin_token.get_secret_value(),
        settings.influxdb_org,
        settings.influxdb_bucket,
        settings.influxdb_ca_file,
    )
    tokens = _tokens(settings, server, existing)
    ids = dict(zip((write_token, read_token), tokens.ids, strict=False))
    for file, text in ((write_token, tokens.write), (read_token, tokens.read), (database, name)):
        write_file(file, text, _READABLE)
        if file in ids:
            write_file(_id_file(file), ids[file], _READABLE)
    if existing and tokens.ids and tokens is not existing:
        server.withdraw(existing)
    if settings.readings_store == "influxdb":
        require_access(
            settings.influxdb_url,
            tokens.write,
            settings.influxdb_org,
            settings.influxdb_bucket,
            settings.influxdb_ca_file,
        )


def _tokens(settings: Settings, server: InfluxSetup, existing: Tokens | None) -> Tokens:
    given = settings.influxdb_token.get_secret_value()
    own = Tokens(write=given, read=settings.influxdb_read_token.get_secret_value() or given)
    if settings.readings_store != "influxdb":
        say(f"InfluxDB: nothing to do, because READINGS_STORE is {settings.readings_store}")
        return own
    if given != settings.docker_influxdb_init_admin_token.get_secret_value():
        say("InfluxDB: INFLUXDB_TOKEN is your own; no tokens are created")
        return own
    if not server.has_tokens():
        say("InfluxDB: version 1.x has no separate tokens; every service uses INFLUXDB_TOKEN")
        return own
    tokens = server.ensure_tokens(existing)
    say("InfluxDB: tokens kept" if tokens is existing else "InfluxDB: created one token to write and one to read")
    if message := server.ensure_database():
        say(f"InfluxDB: {message}")
    return tokens


def _kept(write_token: Path, read_token: Path) -> Tokens | None:
    try:
        write, read = write_token.read_text(), read_token.read_text()
    except FileNotFoundError:
        return None
    ids = tuple(_id_file(file).read_text() for file in (write_token, read_token) if _id_file(file).exists())
    return Tokens(write, read, ids) if write and read else None


def _id_file(token_file: Path) -> Path:
    """Return the file that holds InfluxDB's id of a token, which is not a secret."""
    return token_file.with_name(f"{token_file.name}.id")
