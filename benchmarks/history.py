"""Creates a day of scheduled polls in Dagster's database, by copying real ones."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from emm_pipeline.defs.runs import TICK_TAG

if TYPE_CHECKING:
    from benchmarks.product import Product

MINUTES = 1440
VACUUMED_WITHIN_S = 600

_POLLS = f"""CREATE TEMP TABLE polls AS
    SELECT run_id, tick, stated > max(stated) OVER () / 2 AS states_all FROM (
        SELECT r.run_id, t.value AS tick, (SELECT count(*) FROM event_logs e
                 WHERE e.run_id = r.run_id AND e.dagster_event_type = 'ASSET_MATERIALIZATION') AS stated
          FROM runs r JOIN run_tags t ON t.run_id = r.run_id AND t.key = '{TICK_TAG}' WHERE r.status = 'SUCCESS') p"""  # noqa: S608 - constants only

_REQUIRE_BOTH = """DO $$ BEGIN IF (SELECT count(DISTINCT states_all) FROM polls) < 2 THEN
    RAISE EXCEPTION 'a tick that records the status of all meters is needed, and one that records that of few';
    END IF; END $$"""

_DAY = """CREATE TEMP TABLE day AS
    SELECT p.run_id AS of, m.minutes * interval '1 minute' AS earlier, gen_random_uuid()::text AS run_id
      FROM generate_series(:first, :last) AS m(minutes), polls p
     WHERE p.states_all = (m.minutes % :stated_every = 0)
       AND p.tick = (SELECT min(tick) FROM polls q WHERE q.states_all = p.states_all)"""

_COPIES = (
    """INSERT INTO runs (run_id, snapshot_id, pipeline_name, mode, status, run_body, partition, partition_set,
                         create_timestamp, update_timestamp, start_time, end_time)
       SELECT d.run_id, r.snapshot_id, r.pipeline_name, r.mode, r.status, replace(r.run_body, r.run_id, d.run_id),
              r.partition, r.partition_set, r.create_timestamp - earlier, r.update_timestamp - earlier,
              r.start_time - extract(epoch FROM earlier), r.end_time - extract(epoch FROM earlier)
         FROM day d JOIN runs r ON r.run_id = d.of ORDER BY earlier DESC""",
    """INSERT INTO run_tags (run_id, key, value)
       SELECT d.run_id, t.key, t.value FROM day d JOIN run_tags t ON t.run_id = d.of ORDER BY earlier DESC, t.id""",
    """INSERT INTO event_logs (run_id, event, dagster_event_type, timestamp, step_key, asset_key, partition)
       SELECT d.run_id, replace(e.event, e.run_id, d.run_id), e.dagster_event_type, e.timestamp - earlier, e.step_key,
              e.asset_key, e.partition
         FROM day d JOIN event_logs e ON e.run_id = d.of ORDER BY earlier DESC, e.id""",
)


_NOT_VACUUMED = "SELECT n_ins_since_vacuum FROM pg_stat_user_tables WHERE relname = 'event_logs'"


def add_history(product: Product, minutes: int, stated_every: int) -> tuple[int, int]:
    """Copy the scheduled polls of the database into each of the minutes before them.

    There must have been a tick that recorded the status of all meters, and one that recorded that of few or none. The
    copied events keep the metadata and texts of the originals; only their run and time change. Copies get newer ids
    than the originals, so the originals are copied once more at the end: the latest event of each partition must have
    the highest id. The function waits for PostgreSQL's autovacuum, which runs many times in a real day.

    Args:
        product: The processes, with the polls to copy.
        minutes: Number of minutes.
        stated_every: The polls of every so many minutes record the status of all meters: STATUS_INTERVAL_S.

    Returns:
        The number of runs and of events in the database.
    """
    day = _DAY.replace(":stated_every", str(stated_every))
    statements = [
        _POLLS,
        _REQUIRE_BOTH,
        day.replace(":first", "1").replace(":last", str(minutes)),
        *_COPIES,
        "DROP TABLE day",
    ]
    newest = day.replace(":first", "0").replace(":last", "0")
    statements += [newest, *_COPIES, "UPDATE asset_keys SET cached_status_data = NULL"]
    product.dagsters(";".join(statements))
    product.dagsters("ANALYZE")
    _wait_for_autovacuum(product, most=minutes)
    (runs,) = product.dagsters("SELECT count(*) FROM runs")[0]
    (events,) = product.dagsters("SELECT count(*) FROM event_logs")[0]
    return runs, events


def _wait_for_autovacuum(product: Product, most: int) -> None:
    """Wait until at most this number of events was inserted since the last vacuum."""
    for _ in range(VACUUMED_WITHIN_S):
        if product.dagsters(_NOT_VACUUMED)[0][0] <= most:
            return
        time.sleep(1)
    raise AssertionError(f"autovacuum did not run within {VACUUMED_WITHIN_S} s")
