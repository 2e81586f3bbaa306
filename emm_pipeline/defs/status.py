"""The pipeline's memory of each meter (table `meter_status`), kept beside what Dagster shows."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from dagster import DagsterInstance

from emm_pipeline.config_db.device_state.meter_status import MeterStatus, load_statuses, save_results
from emm_pipeline.defs.partitions import METER_READINGS
from emm_pipeline.polling.results import PollResult

if TYPE_CHECKING:
    from sqlalchemy import Engine


def results_to_report(
    engine: "Engine", instance: DagsterInstance, results: Sequence[PollResult], interval: timedelta
) -> list[PollResult]:
    """Return the results that are to be stated in Dagster.

    Failures and changes always; that a meter is still well only once the last such statement is older than
    `interval` (an event is about 1.6 kB in the database). A change is also what Dagster alone knows: a run for one
    partition that died before it stated anything has left it failed.
    """
    if not interval:
        return list(results)
    unread = instance.event_log_storage.get_latest_asset_partition_materialization_attempts_without_materializations(
        METER_READINGS
    )
    known = load_statuses(engine)
    statuses = {id_: status for id_, status in known.items() if str(id_) not in unread}
    oldest = datetime.now(UTC) - interval
    return [result for result in results if not (result.ok and _is_fresh(statuses.get(result.id), oldest))]


def _is_fresh(status: MeterStatus | None, oldest: datetime) -> bool:
    return bool(
        status and status.failing_since is None and status.recorded_at is not None and status.recorded_at > oldest
    )


def save_statuses(engine: "Engine", results: Sequence[PollResult], stated: Collection[PollResult]) -> None:
    """Write each meter's last reading, failures in a row, and when its status was last stated."""
    before = load_statuses(engine)
    now = datetime.now(UTC)
    stated_ids = {result.id for result in stated}
    save_results(engine, [_status(o, before.get(o.id), now, stated=o.id in stated_ids) for o in results])


def _status(result: PollResult, before: MeterStatus | None, now: datetime, *, stated: bool) -> MeterStatus:
    """The status after a poll. What the store did not take is no failure of the meter's, and counts as none."""
    before = before or MeterStatus(id=result.id)
    return MeterStatus(
        id=result.id,
        last_read_at=max(filter(None, (result.read_at, before.last_read_at)), default=None),
        failing_since=None if result.ok else before.failing_since or now,
        failures_in_a_row=0 if result.ok else before.failures_in_a_row + result.unread,
        reason=result.reason,
        recorded_at=now if stated else before.recorded_at,
    )
