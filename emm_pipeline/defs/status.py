"""Select the results of a poll to report in Dagster, and save all results in the table `meter_status`."""

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
    """Return the results to report in Dagster.

    Failures and changes are always reported; repeated success only if the last report is older than `interval`, because
    an event takes about 1.6 kB in the database. A meter that only Dagster shows as failed has changed too: a run for
    its partition was killed before it reported a result.
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


def save_statuses(engine: "Engine", results: Sequence[PollResult], reported: Collection[PollResult]) -> None:
    """Save each meter's last reading, its number of failures in a row, and the time of its last report in Dagster."""
    before = load_statuses(engine)
    now = datetime.now(UTC)
    ids = {result.id for result in reported}
    save_results(engine, [_status(each, before.get(each.id), now, reported=each.id in ids) for each in results])


def _status(result: PollResult, before: MeterStatus | None, now: datetime, *, reported: bool) -> MeterStatus:
    """Return the status after a poll. A meter whose readings could not be stored counts as read."""
    before = before or MeterStatus(id=result.id)
    return MeterStatus(
        id=result.id,
        last_read_at=max(filter(None, (result.read_at, before.last_read_at)), default=None),
        failing_since=None if result.ok else before.failing_since or now,
        failures_in_a_row=0 if result.ok else before.failures_in_a_row + result.unread,
        reason=result.reason,
        recorded_at=now if reported else before.recorded_at,
    )
