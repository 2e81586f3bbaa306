"""The result of polling: of one fleet reading, and of each meter over a run (pure)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from emm_pipeline.fleet import EnergyMeter
    from emm_pipeline.polling.plan import PollPlan
    from emm_pipeline.readings import PollPoint


@dataclass(frozen=True, slots=True)
class FleetResult:
    """One sample of all meters of a run, after loading. Times are UTC.

    `unstored` says by meter id why points of it are not in the store and never will be. `store_problems`, of one line
    each, are no meter's: points wait in the outbox, or the outbox cannot do its part. `notices` is by meter id what
    its unit refuses, a line each. `retriable` are the ids of meters that may well answer when they are asked once more,
    and `second_attempt` is what came of that.
    """

    due: datetime
    started: datetime
    ended: datetime
    records: tuple[PollPoint, ...]
    unstored: Mapping[int, str] = field(default_factory=dict)
    store_problems: tuple[str, ...] = ()
    notices: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    retriable: frozenset[int] = frozenset()
    second_attempt: FleetResult | None = None

    @property
    def late_s(self) -> float:
        """Seconds from when the sample was due to when it began."""
        return (self.started - self.due).total_seconds()

    @property
    def settled(self) -> dict[int, tuple[PollPoint, str | None]]:
        """By meter id its record, that of the second attempt if it brought no less, and why it failed, if it did."""
        settled = {record.id: (record, record.error or self.unstored.get(record.id)) for record in self.records}
        if self.second_attempt:
            for meter_id, again in self.second_attempt.settled.items():
                if again[0].points >= settled[meter_id][0].points:
                    settled[meter_id] = again
        return settled

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with the store, at both attempts."""
        return self.store_problems + (self.second_attempt.problems if self.second_attempt else ())


@dataclass(frozen=True, slots=True)
class PollResult:
    """What came of one meter in a run: read, or failed with a reason of one line.

    `unread` tells a failed meter of which a sample was not read from one of which nothing but storing failed. What the
    unit refuses is in `notices`, a line each.
    """

    id: int
    description: str | None
    address: str
    unit_id: int | None
    reason: str | None
    read_at: datetime | None = None
    points: int = 0
    requests: int = 0
    latency_ms: float = 0.0
    unread: bool = False
    notices: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every sample of the meter was read, and no point of it is lost to the store."""
        return self.reason is None


def results_of(plan: PollPlan, reports: Iterable[FleetResult]) -> list[PollResult]:
    """Return one outcome per meter of the plan, in the order of the ids.

    A meter that lost one of several samples is failed: data is missing. Its reason says in how many. One whose points
    wait in the outbox has lost nothing: it was read.
    """
    reports = list(reports)
    by_meter: dict[int, list[tuple[PollPoint, str | None]]] = {meter.id: [] for meter in plan.meters}
    for report in reports:
        for meter_id, settled in report.settled.items():
            by_meter[meter_id].append(settled)
    attempts = [each for report in reports for each in (report, report.second_attempt) if each]
    notices = {meter_id: lines for attempt in attempts for meter_id, lines in attempt.notices.items()}
    outcomes = [_outcome(meter, by_meter[meter.id], notices.get(meter.id, ())) for meter in plan.meters]
    outcomes += [PollResult(id_, None, "", None, reason, unread=True) for id_, reason in plan.unreadable.items()]
    return sorted(outcomes, key=lambda outcome: outcome.id)


def _outcome(meter: EnergyMeter, samples: list[tuple[PollPoint, str | None]], notices: tuple[str, ...]) -> PollResult:
    errors = [error for _, error in samples if error]
    reason = errors[-1] if errors else None
    if errors and len(samples) > 1:
        reason = f"{reason} (in {len(errors)} of {len(samples)} samples)"
    if not samples:
        reason = "no sample was taken"
    return PollResult(
        meter.id,
        meter.description,
        meter.address,
        meter.unit_id,
        reason,
        read_at=max((record.time for record, _ in samples if record.points), default=None),
        points=sum(record.points for record, _ in samples),
        requests=sum(record.requests for record, _ in samples),
        latency_ms=max((record.latency_ms for record, _ in samples), default=0.0),
        unread=not samples or any(record.error for record, _ in samples),
        notices=notices,
    )
