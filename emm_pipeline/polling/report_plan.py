"""Plan the report of a run: which meters were read, begin to fail or have recovered; red or green (pure).

A run that a person started is red if any of its meters fails. A scheduled run is red only when something new has
failed: a meter begins to fail, or points are not stored. A meter that is known to fail does not turn later runs red.

Dagster shows a partition as failed if it was planned in a failed run and not materialized since. So a red run plans all
meters that fail now, and a green run plans none of them, because that would turn them green. A meter that has recovered
is planned and then materialized; otherwise its page would continue to show the failed run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from emm_pipeline.polling.results import core_reason

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from emm_pipeline.config_db.device_state.meter_status import MeterStatus
    from emm_pipeline.polling.results import PollResult

OBSERVED_EVERY = timedelta(minutes=15)
"""Shortest time between two reports of the same reason for a meter that continues to fail."""

REPEATED_PER_MINUTE = 100
"""Number of unchanged statuses that are recorded again in a minute, in fleets where STATUS_INTERVAL_S is not set."""
LONGEST_INTERVAL = timedelta(hours=1)


def status_interval(wanted_s: int | None, meters: int) -> timedelta:
    """Return the maximum age of a recorded status that has not changed.

    Args:
        wanted_s: STATUS_INTERVAL_S; None if it is not set. Then it grows with the fleet: 0 up to 100 meters, 10 minutes
            for 1000, an hour from 6000 on.
        meters: Number of meters of the fleet.
    """
    if wanted_s is not None:
        return timedelta(seconds=wanted_s)
    if meters <= REPEATED_PER_MINUTE:
        return timedelta(0)
    return min(timedelta(minutes=meters / REPEATED_PER_MINUTE), LONGEST_INTERVAL)


@dataclass(frozen=True, slots=True)
class ReportPlan:
    """The results to report; each part is in the order of the results.

    The run materializes `read`, and first plans those that are also in `recovered`. `begin_to_fail` are those whose
    failure is new, `failing` are all that fail. The run states on the pages of `observed` why they fail or are asleep.
    """

    read: tuple[PollResult, ...] = ()
    recovered: tuple[PollResult, ...] = ()
    begin_to_fail: tuple[PollResult, ...] = ()
    failing: tuple[PollResult, ...] = ()
    observed: tuple[PollResult, ...] = ()

    def is_red(self, *, scheduled: bool, unstored: bool) -> bool:
        """Whether the run fails.

        Args:
            scheduled: Whether the schedule started it, not a person.
            unstored: Whether points of this run are not in the store.
        """
        return unstored or bool(self.begin_to_fail if scheduled else self.failing)


def plan_report(
    results: Sequence[PollResult],
    before: Mapping[int, MeterStatus],
    shown_as_failed: Collection[int],
    interval: timedelta,
    now: datetime,
) -> ReportPlan:
    """Decide what to report.

    Args:
        results: One per meter.
        before: The statuses before this run, by meter id.
        shown_as_failed: The meters whose partitions Dagster counts as failed: a run may have been killed before it
            reported anything.
        interval: Maximum age of the last report of a meter that continues to be read (STATUS_INTERVAL_S).
        now: Aware.
    """
    failing = tuple(each for each in results if not each.ok)
    read = [each for each in results if each.is_read]
    recovered = tuple(each for each in read if each.id in shown_as_failed or _fails(before.get(each.id)))
    known = {each.id for each in recovered}
    oldest = now - interval
    stated = [each for each in read if each.id in known or _is_stated_again(before.get(each.id), oldest)]
    if read and not stated:
        # Dagster's freshness policy checks materializations: a single one shows that polling works.
        stated = [min(read, key=lambda each: (_recorded(before, each, now), each.id))]
    return ReportPlan(
        read=tuple(stated),
        recovered=recovered,
        begin_to_fail=tuple(each for each in failing if not _fails(before.get(each.id))),
        failing=failing,
        observed=tuple(_to_observe(results, before, max(interval, OBSERVED_EVERY), now)),
    )


def statuses_after(
    results: Iterable[PollResult], before: Mapping[int, MeterStatus], plan: ReportPlan, now: datetime
) -> list[MeterStatus]:
    """Return the status of each meter to save. A meter that was read counts as read, even if it was not stored."""
    from emm_pipeline.config_db.device_state.meter_status import MeterStatus  # noqa: PLC0415  # needs SQLAlchemy

    recorded = {each.id for each in (*plan.read, *plan.failing)}
    observed = {each.id for each in plan.observed}
    statuses = []
    for each in results:
        known = before.get(each.id) or MeterStatus(id=each.id)
        reason = each.reason or each.asleep
        # A sleeping meter has not failed: a failure that begins in the morning does not last since the evening.
        continues = known.asleep is (each.asleep is not None)
        status = MeterStatus(  # not `replace`, which takes four times as long
            id=each.id,
            configuration=known.configuration,
            last_read_at=max(filter(None, (each.read_at, known.last_read_at)), default=None),
            failing_since=((known.failing_since if continues else None) or now) if reason else None,
            failures_in_a_row=(known.failures_in_a_row if continues else 0) + 1 if reason else 0,
            reason=reason,
            recorded_at=now if each.id in recorded else known.recorded_at,
            polled_at=now,
            first_seen_at=known.first_seen_at,
            silent=each.silent,
            asleep=each.asleep is not None,
            observed_at=known.observed_at if reason else None,
            observed_reason=known.observed_reason if reason else None,
        )
        if each.id in observed:
            status = replace(status, observed_at=now, observed_reason=core_reason(each))
        statuses.append(status)
    return statuses


def _fails(status: MeterStatus | None) -> bool:
    """Whether the meter was known to fail. A meter that was asleep was not failing."""
    return bool(status and status.failing_since and not status.asleep)


def _is_stated_again(status: MeterStatus | None, oldest: datetime) -> bool:
    """Whether a meter that was read is to be reported: its last report is old, or its page says that it is asleep."""
    return status is None or status.asleep or status.recorded_at is None or status.recorded_at <= oldest


def _recorded(before: Mapping[int, MeterStatus], result: PollResult, now: datetime) -> datetime:
    status = before.get(result.id)
    return (status and status.recorded_at) or now


def _to_observe(
    results: Iterable[PollResult], before: Mapping[int, MeterStatus], interval: timedelta, now: datetime
) -> Iterable[PollResult]:
    for each in results:
        if each.is_read:
            continue
        status = before.get(each.id)
        if (
            status is None
            or status.observed_at is None
            or status.observed_at <= now - interval
            or status.observed_reason != core_reason(each)
            or status.asleep != (each.asleep is not None)
        ):
            yield each
