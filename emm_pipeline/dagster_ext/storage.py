"""Dagster's storage in PostgreSQL, over one pooled and pre-pinged engine.

Stock dagster-postgres opens a new database connection for every event (8 ms each); over a pool an event costs
0.8 ms. The pre-ping makes a restart of PostgreSQL cost nothing but the time that it is away.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from dagster import DagsterInstance
from dagster._core.storage.defs_state import DefsStateStorage
from dagster._serdes import ConfigurableClass, ConfigurableClassData
from dagster_postgres import (
    DagsterPostgresStorage,
    PostgresEventLogStorage,
    PostgresRunStorage,
    PostgresScheduleStorage,
)
from sqlalchemy import Engine, create_engine, event, text

from emm_pipeline.dagster_ext.event_log import FOR_THE_PLANNER, QuickEventLogStorage
from emm_pipeline.dagster_ext.outages import WaitingEvents
from emm_pipeline.settings import current_settings


class _Pooled:
    """Mixin for a storage of dagster-postgres: takes the shared engine, and keeps it in the webserver."""

    _engine: Engine

    def share(self, engine: Engine) -> None:
        self._engine.dispose()
        self._engine = engine

    def optimize_for_webserver(self, statement_timeout: int, pool_recycle: int, max_overflow: int) -> None:
        """Bound each statement's time, in ms. The stock version would replace the engine, and lose the pre-ping."""
        _ = pool_recycle, max_overflow

        @event.listens_for(self._engine, "connect")
        def _bound(connection: Any, _record: object) -> None:
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('statement_timeout', %s, false)", (str(statement_timeout),))

        self._engine.dispose()


class _EventLogStorage(WaitingEvents, _Pooled, QuickEventLogStorage):
    pass


class _RunStorage(_Pooled, PostgresRunStorage):
    pass


class _ScheduleStorage(_Pooled, PostgresScheduleStorage):
    pass


class PooledPostgresStorage(DagsterPostgresStorage):
    """Named under `storage: custom:` in dagster.yaml, without configuration: the address is in the settings.

    Opening it contacts nothing and creates nothing; `emm db upgrade` makes the tables.
    """

    def __init__(self, postgres_url: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(postgres_url, should_autocreate_tables=False, inst_data=inst_data)
        engine = create_engine(
            postgres_url,
            isolation_level="AUTOCOMMIT",
            pool_pre_ping=True,
            pool_size=4,
            max_overflow=20,
            pool_recycle=3600,
            connect_args={"connect_timeout": 5, "application_name": "emm dagster"},
        )
        self._event_log_storage = _EventLogStorage(postgres_url, should_autocreate_tables=False)
        self._run_storage = _RunStorage(postgres_url, should_autocreate_tables=False)
        self._schedule_storage = _ScheduleStorage(postgres_url, should_autocreate_tables=False)
        for storage in (self._event_log_storage, self._run_storage, self._schedule_storage):
            storage.share(engine)

    @classmethod
    def config_type(cls) -> Mapping[str, Any]:
        """Nothing to configure in dagster.yaml."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        """Open the storage that the settings name."""
        _ = config_value
        url = current_settings().dagster_database_url
        return cls(url.render_as_string(hide_password=False), inst_data=inst_data)


class NoDefinitionsState(DefsStateStorage[DagsterInstance], ConfigurableClass):
    """Named under `defs_state_storage:` in dagster.yaml: our definitions keep no state between loads.

    The stock one asks the database each time that definitions are loaded, so that they cannot even be validated
    without one.
    """

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        self._inst_data = inst_data

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """What dagster.yaml says of it."""
        return self._inst_data

    @classmethod
    def config_type(cls) -> Mapping[str, Any]:
        """Nothing to configure."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        """Make one."""
        _ = config_value
        return cls(inst_data)

    def get_latest_defs_state_info(self) -> None:
        """There is none."""

    def download_state_to_path(self, key: str, version: str, path: Path) -> None:
        """Never asked for."""
        raise NotImplementedError

    def upload_state_from_path(self, key: str, version: str, path: Path) -> None:
        """Never asked for."""
        raise NotImplementedError

    def set_latest_version(self, key: str, version: str | None) -> None:
        """Never asked for."""
        raise NotImplementedError


def upgrade_storage(postgres_url: str) -> None:
    """Create Dagster's tables where they are absent, and bring older ones up to the installed version."""
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
