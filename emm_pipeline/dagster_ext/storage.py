"""Dagster's storage in PostgreSQL, with one connection pool per process and a check of each connection before use.

dagster-postgres by itself opens a new database connection for every event, which takes 8 ms; with a pool an event takes
0.8 ms. The check replaces connections that a restart of PostgreSQL has closed. The code server opens an
instance of Dagster for each tick and never closes its storage: with a pool each, connections and memory would pile up.

Storage in dagster.yaml: https://docs.dagster.io/deployment/oss/dagster-yaml
"""

import os
from collections.abc import Callable, Mapping
from functools import lru_cache, wraps
from pathlib import Path
from select import POLLIN, poll
from typing import Any, Self
from weakref import WeakKeyDictionary

from dagster import DagsterInstance
from dagster_postgres import (
    DagsterPostgresStorage,
    PostgresEventLogStorage,
    PostgresRunStorage,
    PostgresScheduleStorage,
)
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import DisconnectionError

from emm_pipeline.dagster_ext.event_log import FOR_THE_PLANNER, QuickEventLogStorage
from emm_pipeline.dagster_ext.internals import (
    ConfigurableClass,
    ConfigurableClassData,
    DefsStateStorage,
    SharedEngine,
    replace_storages,
)
from emm_pipeline.dagster_ext.outages import WaitingEvents
from emm_pipeline.opening import follow_rotation
from emm_pipeline.settings import current_settings


class _Pooled(SharedEngine):
    """Mixin for a storage of dagster-postgres that uses the shared engine, also in the webserver."""

    def optimize_for_webserver(self, statement_timeout: int, pool_recycle: int, max_overflow: int) -> None:
        """Limit each statement's time, in ms. The original method would replace the engine, and its check."""
        _ = pool_recycle, max_overflow

        @event.listens_for(self.engine, "connect")
        def _limit(connection: Any, _record: object) -> None:
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('statement_timeout', %s, false)", (str(statement_timeout),))

        self.engine.dispose()


_TRUE: WeakKeyDictionary[Engine, set[tuple[str, ...]]] = WeakKeyDictionary()
"""The questions about the tables of each database that were answered with yes: no table or column is ever removed."""


def _asked_until_true(ask: Callable[..., Any]) -> Callable[..., bool]:
    """Wrap a method that looks up in PostgreSQL whether the tables are up to date, as Dagster does for most queries."""

    @wraps(ask)
    def answer(storage: SharedEngine, *arguments: str) -> bool:
        known, question = _TRUE.setdefault(storage.engine, set()), (ask.__qualname__, *arguments)
        if question not in known and ask(storage, *arguments):
            known.add(question)
        return question in known

    return answer


class _EventLogStorage(WaitingEvents, _Pooled, QuickEventLogStorage):
    has_secondary_index = _asked_until_true(QuickEventLogStorage.has_secondary_index)
    has_table = _asked_until_true(QuickEventLogStorage.has_table)


class _RunStorage(_Pooled, PostgresRunStorage):
    has_backfill_tags_table = _asked_until_true(PostgresRunStorage.has_backfill_tags_table)
    has_built_index = _asked_until_true(PostgresRunStorage.has_built_index)
    has_bulk_actions_selector_cols = _asked_until_true(PostgresRunStorage.has_bulk_actions_selector_cols)
    has_run_stats_index_cols = _asked_until_true(PostgresRunStorage.has_run_stats_index_cols)


class _ScheduleStorage(_Pooled, PostgresScheduleStorage):
    has_built_index = _asked_until_true(PostgresScheduleStorage.has_built_index)
    has_instigators_table = _asked_until_true(PostgresScheduleStorage.has_instigators_table)

    def update_tick(self, tick: Any) -> Any:
        """Store a tick. A schedule is evaluated before its tick: Dagster's page would show a negative duration."""
        data = tick.tick_data
        if data.end_timestamp is not None and data.end_timestamp < data.timestamp:
            tick = type(tick)(tick.tick_id, data.with_status(data.status, end_timestamp=data.timestamp))
        return super().update_tick(tick)


def _check(connection: Any, _record: object, _proxy: object) -> None:
    """Make the pool replace a connection that PostgreSQL has closed, or the system after keepalives without a reply.

    Between two statements PostgreSQL sends nothing else, so this needs no reply, unlike SQLAlchemy's pre-ping.
    """
    closed = connection.closed
    if not closed:
        socket = poll()
        socket.register(connection.fileno(), POLLIN)
        closed = socket.poll(0)
    if closed:
        raise DisconnectionError("PostgreSQL has closed the connection")


@lru_cache(maxsize=4)  # more than one only where a password was changed meanwhile, and in tests
def _engine_of_this_process(postgres_url: str, process: int) -> Engine:
    """Return the engine that all storages of a process share; a forked process may not use its parent's connections."""
    _ = process
    engine = create_engine(
        postgres_url,
        isolation_level="AUTOCOMMIT",
        pool_size=2,
        max_overflow=22,
        pool_use_lifo=True,
        pool_recycle=3600,
        use_native_hstore=False,  # not used, and SQLAlchemy would look for it at each new connection
        connect_args={
            "connect_timeout": 5,
            "application_name": "emm dagster",
            "client_encoding": "utf8",
            # A host that has crashed is detected within seconds, not after a quarter of an hour.
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 2,
            "tcp_user_timeout": 10_000,
            # Dagster reads times without a zone as UTC, but its columns' default is the time in the session's zone.
            "options": "-c timezone=UTC",
        },
    )
    event.listen(engine, "checkout", _check)
    if current_settings().emm_access_dir:
        follow_rotation(engine, lambda: current_settings().dagster_database_url)
    return engine


class PooledPostgresStorage(DagsterPostgresStorage):
    """The class under `storage: custom:` in dagster.yaml, without configuration: the address comes from the settings.

    Creating an object makes no connection and creates no tables; `emm db upgrade` creates them.
    """

    def __init__(self, postgres_url: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(postgres_url, should_autocreate_tables=False, inst_data=inst_data)
        engine = _engine_of_this_process(postgres_url, os.getpid())
        event_logs = _EventLogStorage(postgres_url, should_autocreate_tables=False)
        runs = _RunStorage(postgres_url, should_autocreate_tables=False)
        schedules = _ScheduleStorage(postgres_url, should_autocreate_tables=False)
        for storage in (event_logs, runs, schedules):
            storage.share(engine)
        replace_storages(self, event_logs, runs, schedules)

    @classmethod
    def config_type(cls) -> Mapping[str, Any]:
        """Return no fields, because nothing can be configured in dagster.yaml."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        """Open the storage that the settings name."""
        _ = config_value
        url = current_settings().dagster_database_url
        return cls(url.render_as_string(hide_password=False), inst_data=inst_data)


class NoDefinitionsState(DefsStateStorage[DagsterInstance], ConfigurableClass):
    """The class under `defs_state_storage:` in dagster.yaml, since EMM's definitions keep no state between loads.

    Dagster's own class queries the database each time that definitions are loaded, so definitions could not be
    validated without a database.
    """

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        self._inst_data = inst_data

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """The configuration in dagster.yaml."""
        return self._inst_data

    @classmethod
    def config_type(cls) -> Mapping[str, Any]:
        """Return no fields, because nothing can be configured."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        """Return a new object."""
        _ = config_value
        return cls(inst_data)

    def get_latest_defs_state_info(self) -> None:
        """Return None, because there is no state."""

    def download_state_to_path(self, key: str, version: str, path: Path) -> None:
        """Raise an error; Dagster calls this only for definitions that keep state."""
        raise NotImplementedError

    def upload_state_from_path(self, key: str, version: str, path: Path) -> None:
        """Raise an error; Dagster calls this only for definitions that keep state."""
        raise NotImplementedError

    def set_latest_version(self, key: str, version: str | None) -> None:
        """Raise an error; Dagster calls this only for definitions that keep state."""
        raise NotImplementedError


def upgrade_storage(postgres_url: str) -> None:
    """Create Dagster's tables if they do not exist, and upgrade older ones to the installed version."""
    schedules = PostgresScheduleStorage(postgres_url)
    runs = PostgresRunStorage(postgres_url)
    events = PostgresEventLogStorage(postgres_url)
    try:
        schedules.upgrade()
        runs.upgrade()
        runs.migrate()
        events.upgrade()
        with events.index_connection() as connection:
            for statement in FOR_THE_PLANNER:
                connection.execute(text(statement))
    finally:
        for storage in (schedules, runs, events):
            storage.dispose()
