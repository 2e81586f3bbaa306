"""Execute Dagster's jobs in this process, with the real storage in PostgreSQL and without a daemon."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterEventType, DagsterInstance, Definitions, ExecuteInProcessResult
from sqlalchemy import Engine, text
from support.postgres import TEMPLATE, administrate, connection_settings, create_database

from emm_pipeline.config_db.engine import create_config_engine
from emm_pipeline.definitions import build_definitions
from emm_pipeline.defs.partitions import METER_READINGS, METERS
from emm_pipeline.embedded_postgres import EmbeddedPostgres
from emm_pipeline.settings import PROJECT_ROOT, Settings, current_settings

REGISTERS = """
    INSERT INTO registers VALUES
      ('sdm630', 0, 'voltageL1', 'V', 3, 4, 2, 2),
      ('sdm630', 52, 'activePower', NULL, 3, 4, 2, 2)
"""


class Pipeline:
    """The pipeline's jobs and databases; readings go to PostgreSQL."""

    def __init__(self, instance: DagsterInstance, engine: Engine) -> None:
        self.instance = instance
        self.engine = engine
        self._built: tuple[Settings, Definitions] | None = None

    @property
    def definitions(self) -> Definitions:
        """Everything that Dagster executes, with the current settings; built once, as by the code server."""
        settings = current_settings()
        if self._built is None or self._built[0] is not settings:
            self._built = settings, build_definitions(settings)
        return self._built[1]

    def sql(self, statement: str, **values: Any) -> list[Any]:
        """Execute a statement in the configuration database; return its rows, if it has any."""
        with self.engine.begin() as connection:
            result = connection.execute(text(statement), values)
            return list(result) if result.returns_rows else []

    def add_meter(self, id_: int, port: int, unit_id: int = 1) -> None:
        """Add a row to energy_meters, of the type sdm630."""
        self.sql(f"INSERT INTO energy_meters VALUES ({id_}, '127.0.0.1', {port}, {unit_id}, 'sdm630', NULL)")

    def run(self, job: str, tags: dict[str, str] | None = None, **options: Any) -> ExecuteInProcessResult:
        """Execute a job; a failure is in the result, not raised."""
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        return self.definitions.resolve_job_def(job).execute_in_process(
            instance=self.instance, raise_on_error=False, run_config=quiet, tags=tags, **options
        )

    def partitions(self) -> set[str]:
        """Return the partition keys."""
        return set(self.instance.get_dynamic_partitions(str(METERS.name)))

    def statuses(self) -> dict[str, set[str]]:
        """Return the partitions that Dagster shows as materialized and as failed."""
        storage = self.instance.event_log_storage
        attempts = storage.get_latest_asset_partition_materialization_attempts_without_materializations(METER_READINGS)
        return {"materialized": set(self.instance.get_materialized_partitions(METER_READINGS)), "failed": set(attempts)}

    def events(self, result: ExecuteInProcessResult, kind: DagsterEventType) -> list[Any]:
        """Return a run's stored events of a kind."""
        return [entry.dagster_event for entry in self.instance.all_logs(result.run_id, of_type={kind})]

    def observation(self, result: ExecuteInProcessResult) -> dict[str, Any]:
        """Return the metadata of a poll's observation."""
        events = self.events(result, DagsterEventType.ASSET_OBSERVATION)
        (event,) = [event for event in events if not event.partition]
        metadata = event.event_specific_data.asset_observation.metadata
        return {name: getattr(value, "records", getattr(value, "value", value)) for name, value in metadata.items()}


@pytest.fixture
def pipeline(postgres: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    """A pipeline with the registers of the type sdm630, and no meters."""
    name = create_database(postgres, TEMPLATE).database
    administrate(postgres, f"CREATE DATABASE {name}_dagster TEMPLATE {TEMPLATE}_dagster STRATEGY file_copy")
    home = tmp_path / "dagster"
    home.mkdir()
    shutil.copyfile(PROJECT_ROOT / "dagster.yaml", home / "dagster.yaml")
    variables = connection_settings(postgres, str(name)) | {"READINGS_STORE": "postgresql", "DAGSTER_HOME": str(home)}
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    current_settings.cache_clear()
    engine = create_config_engine(current_settings().config_database_url)
    with DagsterInstance.get() as instance:
        pipeline = Pipeline(instance, engine)
        pipeline.sql(REGISTERS)
        yield pipeline
    engine.dispose()
    current_settings.cache_clear()
