"""Whether an installation may be replaced by a backup: EMM must not run, and there must be nothing to lose."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import text

from emm_pipeline.config_db.engine import create_config_engine, database_errors
from emm_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy import URL

    from emm_pipeline.settings import Settings

_HEARTBEAT_LASTS = timedelta(seconds=90)
_EXAMPLE_METER = "virtual_modbustcp_server"
"""Host of the meter that config/postgres_init.sql adds."""


def require_stopped(settings: Settings) -> None:
    """Raise ConfigurationError if Dagster's daemon runs on the database."""
    query = "SELECT max(timestamp) FROM daemon_heartbeats"
    beat = _scalar(settings.dagster_database_url, "daemon_heartbeats", query)
    if isinstance(beat, datetime) and datetime.now(UTC) - beat.replace(tzinfo=beat.tzinfo or UTC) < _HEARTBEAT_LASTS:
        raise ConfigurationError(
            "EMM runs on this database: stop it, wait for a minute and a half, and try again; --force restores all "
            "the same"
        )


def require_empty(settings: Settings) -> None:
    """Raise ConfigurationError if there is a meter of a person's own."""
    query = f"SELECT count(*) FROM energy_meters WHERE host <> '{_EXAMPLE_METER}'"  # noqa: S608  # a constant
    meters = _scalar(settings.config_database_url, "energy_meters", query)
    if meters:
        shown = "a meter" if meters == 1 else f"{meters} meters"
        raise ConfigurationError(
            f"the table energy_meters has {shown}, which a restore would replace: use an empty installation, or --force"
        )


def _scalar(url: URL, table: str, query: str) -> object:
    """Return the value of a query; None if the table does not exist."""
    engine = create_config_engine(url)
    try:
        with database_errors(engine), engine.connect() as connection:
            if connection.scalar(text("SELECT to_regclass(:table)"), {"table": table}) is None:
                return None
            return connection.scalar(text(query))
    finally:
        engine.dispose()
