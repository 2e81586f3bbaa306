"""Back-off: meters that keep failing are read less and less often, so that they do not delay others (pure)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from emm_pipeline.failing import ASKED_LESS_AFTER, FailingMeter
from emm_pipeline.readings import Failure, FailureKind, MeterReading

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
"""The kinds of failure that count; a missed deadline or a wrong configuration does not."""


def delay(failures: int, interval: timedelta) -> timedelta | None:
    """Return the delay until a meter is read again after a failed reading; readings are `interval` apart.

    None means at the next reading. This applies to the first failures, and if the interval is long anyway.
    """
    if failures < ASKED_LESS_AFTER or interval >= LONGEST_DELAY:
        return None
    doublings = min(failures - ASKED_LESS_AFTER + 1, 10)  # ten are beyond the limit, and thousands would overflow
    return min(LONGEST_DELAY, interval * (1 << doublings))


def after(sample: MeterReading, before: FailingMeter | None, due: datetime, interval: timedelta) -> FailingMeter | None:
    """Return the failure state of a meter after a reading; None if the reading succeeded."""
    if sample.blocks:
        return None
    if sample.failure is None or sample.failure.kind not in _ITS_OWN_FAULT:
        return before
    if before and sample.meter.may_be_off and before.silent != sample.is_silent:
        before = None  # silence and failures of such a meter are different things
    failures = before.failures + 1 if before else 1
    pause = delay(failures, interval)
    since = before.since if before else due
    next_attempt_at = due + pause if pause else None
    return FailingMeter(sample.meter.id, failures, since, sample.failure.reason, next_attempt_at, sample.is_silent)


def not_asked(meter: EnergyMeter, failing: FailingMeter, now: datetime) -> MeterReading:
    """Return the reading of a meter that is not due: why and since when it fails, and when it is read again."""
    reason = (
        f"{failing.reason}; failing since {failing.since:%Y-%m-%d %H:%M:%S} UTC, "
        f"next attempt at {failing.next_attempt_at:%Y-%m-%d %H:%M:%S} UTC"
    )
    return MeterReading(meter, now, failure=Failure(FailureKind.NOT_DUE, reason, was_silent=failing.silent))
