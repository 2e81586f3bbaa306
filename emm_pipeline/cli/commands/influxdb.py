"""`emm influxdb setup`: what the stack does once, so that no service holds more of a credential than it needs."""

from __future__ import annotations

from pathlib import Path

import click

from emm_pipeline.cli.output import say
from emm_pipeline.credentials import write_file
from emm_pipeline.settings import Settings, load_settings
from emm_pipeline.stores.influxdb.setup import InfluxSetup, Tokens

_READABLE = 0o444
"""Grafana runs as another user; who may see the file at all is decided by its folder."""


@click.group("influxdb")
def influxdb() -> None:
    """InfluxDB's tokens."""


@influxdb.command("setup")
@click.option("--write-token", type=click.Path(path_type=Path), required=True, help="File for the pipeline's token.")
@click.option("--read-token", type=click.Path(path_type=Path), required=True, help="File for Grafana's token.")
@click.option("--database", type=click.Path(path_type=Path), required=True, help="File for the name Grafana asks for.")
@click.pass_obj
def setup(env_files: tuple[Path, ...], write_token: Path, read_token: Path, database: Path) -> None:
    """Make a token that may only write and one that may only read, and keep them in files. Safe to run again.

    Tokens are made while INFLUXDB_TOKEN is DOCKER_INFLUXDB_INIT_ADMIN_TOKEN; another one is yours, and kept. Only
    tokens that these files held before are revoked, after InfluxDB no longer accepts one of them.

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
    )
    tokens = _tokens(settings, server, existing)
    ids = dict(zip((write_token, read_token), tokens.ids, strict=False))
    for file, text in ((write_token, tokens.write), (read_token, tokens.read), (database, name)):
        write_file(file, text, _READABLE)
        if file in ids:
            write_file(_id_file(file), ids[file], _READABLE)
    if existing and tokens.ids and tokens is not existing:
        server.withdraw(existing)


def _tokens(settings: Settings, server: InfluxSetup, existing: Tokens | None) -> Tokens:
    given = settings.influxdb_token.get_secret_value()
    own = Tokens(write=given, read=settings.influxdb_read_token.get_secret_value() or given)
    if settings.readings_store != "influxdb":
        say(f"InfluxDB: left alone, since READINGS_STORE is {settings.readings_store}")
        return own
    if given != settings.docker_influxdb_init_admin_token.get_secret_value():
        say("InfluxDB: INFLUXDB_TOKEN is your own; no tokens are made")
        return own
    if not server.has_tokens():
        say("InfluxDB: this one has no tokens to make (1.x); left out, and INFLUXDB_TOKEN serves for all")
        return own
    tokens = server.ensure_tokens(existing)
    say("InfluxDB: tokens kept" if tokens is existing else "InfluxDB: made a token to write and one to read")
    if server.ensure_database():
        say(f"InfluxDB: bucket {settings.influxdb_bucket} can be asked in InfluxQL")
    return tokens


def _kept(write_token: Path, read_token: Path) -> Tokens | None:
    try:
        write, read = write_token.read_text(), read_token.read_text()
    except FileNotFoundError:
        return None
    ids = tuple(_id_file(file).read_text() for file in (write_token, read_token) if _id_file(file).exists())
    return Tokens(write, read, ids) if write and read else None


def _id_file(token_file: Path) -> Path:
    """The file that keeps the id by which InfluxDB knows a token; it is no secret."""
    return token_file.with_name(f"{token_file.name}.id")
