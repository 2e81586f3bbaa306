"""Meters that keep failing are asked less and less often, so that they cost their neighbours no time (pure)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from emm_pipeline.readings import ASKED_LESS_AFTER, FailingMeter, Failure, FailureKind, MeterReading

if TYPE_CHECKING:
    from datetime import datetime

    from emm_pipeline.fleet import EnergyMeter

LONGEST_DELAY = timedelta(minutes=5)

_ITS_OWN_FAULT = {
    FailureKind.TIMEOUT,
    FailureKind.REFUSED,
    FailureKind.EXCEPTION,
    FailureKind.CLOSED,
    FailureKind.INVALID_REPLY,
}
"""What counts; not that its turn did not come, or what is wrong with its configuration."""


def delay(failures: int, interval: timedelta) -> timedelta | None:
    """Return how long after a failed sample a meter is asked again, where samples are `interval` apart.

    None: at the next sample. That is so for the first failures, and where samples are rare anyway.
    """
    if failures < ASKED_LESS_AFTER or interval >= LONGEST_DELAY:
        return None
    doublings = min(failures - ASKED_LESS_AFTER + 1, 10)  # ten are beyond the limit, and thousands would overflow
    return min(LONGEST_DELAY, interval * (1 << doublings))


def after(sample: MeterReading, before: FailingMeter | None, due: datetime, interval: timedelta) -> FailingMeter | None:
    """Return what is to be remembered of a meter after a sample; None once it gave something."""
    if sample.blocks:
        return None
    if sample.failure is None or sample.failure.kind not in _ITS_OWN_FAULT:
        return before
    failures = before.failures + 1 if before else 1
    pause = delay(failures, interval)
    since = before.since if before else due
    next_attempt_at = due + pause if pause else None
    return FailingMeter(sample.meter.id, failures, since, sample.failure.reason, next_attempt_at, sample.is_silent)


def not_asked(meter: EnergyMeter, failing: FailingMeter, now: datetime) -> MeterReading:
    """Return the sample of a meter that is not due: why it failed last, since when, and when it is asked again."""
    reason = (
        f"{failing.reason}; failing since {failing.since:%Y-%m-%d %H:%M:%S} UTC, "
        f"asked again at {failing.next_attempt_at:%Y-%m-%d %H:%M:%S} UTC"
    )
    return MeterReading(meter, now, failure=Failure(FailureKind.NOT_DUE, reason, was_silent=failing.silent))
