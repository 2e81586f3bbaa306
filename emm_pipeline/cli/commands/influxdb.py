"""`emm influxdb setup`: what the stack does once, so that no service holds more of a credential than it needs."""

from __future__ import annotations

from pathlib import Path

import click

from emm_pipeline.cli.output import say
from emm_pipeline.settings import Settings, load_settings
from emm_pipeline.stores.influxdb.setup import InfluxSetup, Tokens


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

    Tokens are made while INFLUXDB_TOKEN is DOCKER_INFLUXDB_INIT_ADMIN_TOKEN; another one is yours, and kept.

    Example: emm influxdb setup --write-token write --read-token read --database database
    """
    settings = load_settings(*env_files)
    name, _, _policy = settings.influxdb_bucket.partition("/")
    tokens = _tokens(settings, _kept(write_token, read_token))
    for file, text in ((write_token, tokens.write), (read_token, tokens.read), (database, name)):
        _write(file, text)


def _tokens(settings: Settings, existing: Tokens | None) -> Tokens:
    given = settings.influxdb_token.get_secret_value()
    own = Tokens(write=given, read=settings.influxdb_read_token.get_secret_value() or given)
    if settings.readings_store != "influxdb":
        say(f"InfluxDB: left alone, since READINGS_STORE is {settings.readings_store}")
        return own
    if given != settings.docker_influxdb_init_admin_token.get_secret_value():
        say("InfluxDB: INFLUXDB_TOKEN is your own; no tokens are made")
        return own
    server = InfluxSetup(settings.influxdb_url, given, settings.influxdb_org, settings.influxdb_bucket)
    if not server.has_tokens():
        say("InfluxDB: this one has no tokens to make (1.x); left out, and INFLUXDB_TOKEN serves for all")
        return own
    tokens = server.ensure_tokens(existing)
    say("InfluxDB: tokens kept" if tokens == existing else "InfluxDB: made a token to write and one to read")
    if server.ensure_database():
        say(f"InfluxDB: bucket {settings.influxdb_bucket} can be asked in InfluxQL")
    return tokens


def _kept(write_token: Path, read_token: Path) -> Tokens | None:
    try:
        tokens = Tokens(write_token.read_text(), read_token.read_text())
    except FileNotFoundError:
        return None
    return tokens if tokens.write and tokens.read else None


def _write(file: Path, text: str) -> None:
    """Replace the file at once. Readable to all: Grafana runs as another user, and only it is given the folder."""
    new = file.with_name(f".{file.name}")
    new.write_text(text)
    new.chmod(0o444)
    new.replace(file)
