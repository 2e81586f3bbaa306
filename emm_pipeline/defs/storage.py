"""Dagster's storage in PostgreSQL, over one pooled and pre-pinged engine.

Stock dagster-postgres opens a new database connection for every event (8 ms each); over a pool an event costs
0.8 ms. The pre-ping makes a restart of PostgreSQL cost nothing but the time that it is away.
"""

from collections.abc import Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, Self

from dagster import DagsterEventType, DagsterInstance
from dagster._core.execution.stats import (
    STEP_STATS_EVENT_TYPES,
    RunStepKeyStatsSnapshot,
    build_run_step_stats_from_events,
)
from dagster._core.storage.defs_state import DefsStateStorage
from dagster._serdes import ConfigurableClass, ConfigurableClassData
from dagster_postgres import (
    DagsterPostgresStorage,
    PostgresEventLogStorage,
    PostgresRunStorage,
    PostgresScheduleStorage,
)
from sqlalchemy import Engine, create_engine, event, text

from emm_pipeline.settings import current_settings

MATERIALIZATIONS_OF_A_STEP = 100
_MATERIALIZATION = DagsterEventType.ASSET_MATERIALIZATION

_FOR_THE_PAGES = (
    # Without it PostgreSQL takes a tenth of the rows for different partitions, and reads the whole table for an asset's
    # page: 2 s instead of 0.2 s with a million events.
    "CREATE STATISTICS IF NOT EXISTS emm_event_partitions (ndistinct) ON dagster_event_type, partition FROM event_logs",
    # The same pages read an index alone, of which a vacuum has said that it is enough. The stock 0.2 waits for hours.
    "ALTER TABLE event_logs SET (autovacuum_vacuum_insert_scale_factor = 0.02)",
    "ANALYZE event_logs",
)


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


class _EventLogStorage(_Pooled, PostgresEventLogStorage):
    def get_step_stats_for_run(
        self, run_id: str, step_keys: Sequence[str] | None = None
    ) -> Sequence[RunStepKeyStatsSnapshot]:
        """What became of a run's steps, with at most MATERIALIZATIONS_OF_A_STEP of its materializations, the newest.

        The run's page asks for the steps' times only. The stock version reads all of a run's materializations for it,
        one per meter, while the page's log needs the same processor.
        """
        others = self.get_records_for_run(run_id, of_type=STEP_STATS_EVENT_TYPES - {_MATERIALIZATION}).records
        newest = self.get_records_for_run(
            run_id, of_type=_MATERIALIZATION, limit=MATERIALIZATIONS_OF_A_STEP, ascending=False
        ).records
        entries = [record.event_log_entry for record in sorted([*others, *newest], key=attrgetter("storage_id"))]
        wanted = [entry for entry in entries if not step_keys or entry.step_key in step_keys]
        return build_run_step_stats_from_events(run_id, wanted)


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
            for statement in _FOR_THE_PAGES:
                connection.execute(text(statement))
    finally:
        for storage in (schedules, runs, events):
            storage.dispose()
