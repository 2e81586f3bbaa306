"""Dagster's event log in PostgreSQL, adapted to thousands of partitions: queries, inserts, planner statistics.

Each query returns the same as that of dagster-postgres, except for the limit stated in its docstring. Code that creates
events belongs in `event_writing`, code that deletes them in `run_history`.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from functools import partial
from operator import attrgetter

from dagster import AssetKey, DagsterEventType, EventLogEntry
from dagster_postgres import PostgresEventLogStorage
from sqlalchemy import Connection, select, text

from emm_pipeline.dagster_ext.internals import (
    STEP_STATS_EVENT_TYPES,
    RunStepKeyStatsSnapshot,
    SqlEventLogStorageTable,
    build_run_step_stats_from_events,
    serialize_value,
)

MATERIALIZATIONS_OF_A_RUN = 100
"""Number of materializations (the newest) that are shown with the steps of a run."""

_MATERIALIZATION = DagsterEventType.ASSET_MATERIALIZATION

FOR_THE_PLANNER = (
    # Without these statistics PostgreSQL estimates the number of partitions as a tenth of the rows, and reads the whole
    # table for an asset's page: 2 s instead of 0.2 s with a million events.
    "CREATE STATISTICS IF NOT EXISTS emm_event_partitions (ndistinct) ON dagster_event_type, partition FROM event_logs",
    # The queries of these pages need only an index once a vacuum has marked the table's pages as visible to all. With
    # the default of 0.2 that takes hours.
    "ALTER TABLE event_logs SET (autovacuum_vacuum_insert_scale_factor = 0.02)",
    "ANALYZE event_logs",
)


_INSERT = text("""
    INSERT INTO event_logs (run_id, event, dagster_event_type, timestamp, step_key, asset_key, partition)
    SELECT :run_id, batch.event, :kind, :timestamp, :step_key, :asset_key, batch.partition
    FROM unnest(CAST(:events AS text[]), CAST(:partitions AS text[])) AS batch (event, partition)
""")


_INSERT_ONE = text("""
    INSERT INTO event_logs (run_id, event, dagster_event_type, timestamp, step_key)
    VALUES (:run_id, :event, :kind, :timestamp, :step_key)
""")

_EXISTING = text("""
    SELECT partition FROM dynamic_partitions
    WHERE partitions_def_name = :name AND partition = ANY (CAST(:keys AS text[]))
""")

_OF_STEPS = frozenset(
    {
        DagsterEventType.ENGINE_EVENT,
        DagsterEventType.HANDLED_OUTPUT,
        DagsterEventType.LOADED_INPUT,
        DagsterEventType.RESOURCE_INIT_FAILURE,
        DagsterEventType.RESOURCE_INIT_STARTED,
        DagsterEventType.RESOURCE_INIT_SUCCESS,
        DagsterEventType.STEP_INPUT,
        DagsterEventType.STEP_OUTPUT,
        DagsterEventType.STEP_START,
        DagsterEventType.STEP_SUCCESS,
    }
)
"""Types of events that concern steps, and never an asset or a check."""


class QuickEventLogStorage(PostgresEventLogStorage):
    """The event log of dagster-postgres, with three of its queries replaced, and two quick methods to store events."""

    def store_event_of_step(self, connection: Connection, event: EventLogEntry) -> bool:
        """Store an event if it concerns only a step; return whether it does.

        Dagster's own method takes four statements: two that check connections, and a notification for versions before
        1.0, because newer ones look at the table.

        Args:
            connection: One in autocommit.
            event: The event, or a line of a run's log.
        """
        kind = event.dagster_event_type
        if kind is not None and kind not in _OF_STEPS:
            return False
        row = {
            "run_id": event.run_id,
            "event": serialize_value(event),
            "kind": kind.value if kind else None,
            "timestamp": _time_of(event),
            "step_key": event.step_key,
        }
        connection.execute(_INSERT_ONE, row)
        return True

    def store_similar_events(self, example: EventLogEntry, events: Sequence[tuple[str | None, str]]) -> None:
        """Insert asset events, given by partition and serialized form, in one statement.

        As one array per column, rows take a tenth of the time of `store_event_batch`. The row of the asset, which
        contains its last event, is not updated.

        Args:
            example: An event that agrees with all of them in run, step, kind, asset and time.
            events: The events (`event_text.py`).
        """
        event = example.get_dagster_event()
        row = {
            "run_id": example.run_id,
            "kind": event.event_type_value,
            "timestamp": _time_of(example),
            "step_key": event.step_key,
            "asset_key": event.asset_key.to_string() if event.asset_key else None,
            "partitions": [partition for partition, _ in events],
            "events": [serialized for _, serialized in events],
        }
        with self.index_connection() as connection:
            connection.execute(_INSERT, row)

    def get_step_stats_for_run(
        self, run_id: str, step_keys: Sequence[str] | None = None
    ) -> Sequence[RunStepKeyStatsSnapshot]:
        """Return the statistics of a run's steps, with its newest MATERIALIZATIONS_OF_A_RUN materializations.

        A run's page needs only the steps' times. The original method reads all of the run's materializations, one per
        meter, which delays the log on the same page.
        """
        others = self.get_records_for_run(run_id, of_type=STEP_STATS_EVENT_TYPES - {_MATERIALIZATION}).records
        newest = self.get_records_for_run(
            run_id, of_type=_MATERIALIZATION, limit=MATERIALIZATIONS_OF_A_RUN, ascending=False
        ).records
        entries = [record.event_log_entry for record in sorted([*others, *newest], key=attrgetter("storage_id"))]
        wanted = [entry for entry in entries if not step_keys or entry.step_key in step_keys]
        return build_run_step_stats_from_events(run_id, wanted)

    def get_latest_asset_partition_materialization_attempts_without_materializations(
        self, asset_key: AssetKey, after_storage_id: int | None = None
    ) -> Mapping[str, tuple[str, int]]:
        """Return run and event id of the last plan of each partition that was not materialized since.

        Only failed meters are planned by partition, and they are few. The original method also looks up the last
        materialization of every partition and its run.
        """
        latest = partial(self.get_latest_storage_id_by_partition, asset_key, after_cursor=after_storage_id)
        planned = latest(DagsterEventType.ASSET_MATERIALIZATION_PLANNED)
        done = latest(_MATERIALIZATION, partitions=set(planned)) if planned else {}
        open_ids = {partition: id_ for partition, id_ in planned.items() if id_ >= done.get(partition, 0)}
        events = SqlEventLogStorageTable
        statement = select(events.c.id, events.c.run_id).where(events.c.id.in_(open_ids.values()))
        with self.index_connection() as connection:
            runs = dict(map(tuple, connection.execute(statement))) if open_ids else {}
        return {partition: (runs[id_], id_) for partition, id_ in open_ids.items() if id_ in runs}

    def get_existing_dynamic_partitions(
        self, partitions_def_name: str, partition_keys: Sequence[str]
    ) -> AbstractSet[str]:
        """Return those of the keys that are partitions.

        The original method sends each key as a parameter of its own, which takes half of the time of the asset's page
        after a partition was added.
        """
        keys = {"name": partitions_def_name, "keys": list(partition_keys)}
        with self.index_connection() as connection:
            return set(connection.scalars(_EXISTING, keys))


def _time_of(event: EventLogEntry) -> datetime:
    """Return the time of an event as the table contains it: UTC, without a zone."""
    return datetime.fromtimestamp(event.timestamp, UTC).replace(tzinfo=None)
