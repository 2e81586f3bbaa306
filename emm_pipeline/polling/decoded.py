"""A decoded fleet reading: its values, and the result for each meter (pure)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emm_pipeline.polling.counters import CounterComparison
from emm_pipeline.polling.delivery_check import register_issues
from emm_pipeline.polling.results import FleetReading
from emm_pipeline.status import State, decide_read

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    import pandas as pd

    from emm_pipeline.fleet import MeterType
    from emm_pipeline.polling.timing import SampleTime
    from emm_pipeline.readings import MeterReading
    from emm_pipeline.status import RegisterIssue


@dataclass(frozen=True, slots=True)
class Decoded:
    """The meter readings for a sample time, which started at `started` (UTC), and their values.

    `frame` has the columns of `readings.READING_COLUMNS`. `clock_issue` says why the times are wrong, if they are.
    `accepted` contains, by meter id, the measurements whose absence a person has accepted, and `notices` why values are
    absent although the device replied. `counters` are the energy counters, compared with those before.
    """

    sample_time: SampleTime
    started: datetime
    readings: Sequence[MeterReading]
    frame: pd.DataFrame
    types: Mapping[str, MeterType]
    clock_issue: str | None = None
    accepted: Mapping[int, Collection[str]] = field(default_factory=dict)
    notices: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    counters: CounterComparison = field(default_factory=CounterComparison)

    def notices_of(self, reading: MeterReading) -> tuple[str, ...]:
        """Return all notices about a meter."""
        return reading.notices + self.notices.get(reading.meter.id, ())


def describe(decoded: Decoded) -> FleetReading:
    """Return the result of reading each meter, without storing anything."""
    from emm_pipeline.stores.shaping import poll_points  # noqa: PLC0415

    readings = decoded.readings
    issues = register_issues(readings, decoded.frame, decoded.types, decoded.accepted, decoded.counters.fallen)
    usual = decide_read((), decoded.clock_issue).state.value
    statuses = {
        (id_ := reading.meter.id): usual
        if reading.failure is None and id_ not in issues
        else _status(reading, issues.get(id_, ()), decoded)
        for reading in readings
    }
    return FleetReading(
        decoded.sample_time.due,
        decoded.started,
        decoded.sample_time.deadline,
        poll_points(readings, decoded.frame, statuses),
        notices={each.meter.id: lines for each in readings if (lines := decoded.notices_of(each))},
        retriable=frozenset(reading.meter.id for reading in readings if reading.is_retriable),
        clock_issue=decoded.clock_issue,
        issues=issues,
        counters=decoded.counters.to_save(),
    )


def _status(reading: MeterReading, issues: Sequence[RegisterIssue], decoded: Decoded) -> str:
    """Return a meter's status as far as it is known before its points are stored."""
    if reading.failure is None:
        return decide_read(issues, decoded.clock_issue).state.value
    state = State.ASLEEP if reading.meter.may_be_off and reading.is_silent else State.FAILING
    return state.value
