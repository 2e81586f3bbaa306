"""Records for a fleet reading, for its result after loading, and for the result of each meter in a run (pure)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from emm_pipeline.fleet import EnergyMeter
    from emm_pipeline.polling.plan import PollPlan
    from emm_pipeline.readings import PollPoint
    from emm_pipeline.status import RegisterIssue
    from emm_pipeline.stores.delivery import Loaded
    from emm_pipeline.stores.poll_points import MeterSums, PollPoints


@dataclass(frozen=True, slots=True)
class FleetReading:
    """One reading of all meters of a run; its points are in the outbox. Times are UTC.

    `due` and `deadline` are those of its sample time. `poll_points` are the results of reading each meter. `batch` is
    the name of the file in the outbox; if the outbox could not take the points, `loaded` is the result of writing them
    to the store. `unstored` contains, by meter id, the reason why no store can hold one of its points. `notices` are by
    meter id, one line each. `retriable` are the ids of failed meters that may answer a moment later. `clock_issue` says
    why the times of the points are wrong, if they are. `issues` are by meter id the registers that did not deliver, and
    `counters` the energy counters to save (`counters.CounterComparison.to_save`).
    """

    due: datetime
    started: datetime
    deadline: datetime
    poll_points: Sequence[PollPoint]
    batch: str | None = None
    loaded: Loaded | None = None
    unstored: Mapping[int, str] = field(default_factory=dict)
    notices: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    retriable: frozenset[int] = frozenset()
    clock_issue: str | None = None
    issues: Mapping[int, tuple[RegisterIssue, ...]] = field(default_factory=dict)
    counters: Mapping[int, str] = field(default_factory=dict)

    @property
    def meters_read(self) -> int:
        """Number of meters that were read without a failure."""
        return _number_ok(self.poll_points)


@dataclass(frozen=True, slots=True)
class FleetResult:
    """The result of one fleet reading after loading. Times are UTC.

    `poll_points` are the results of reading each meter. `unstored` contains, by meter id, the reason why some of its
    points are not in the store and never will be. `store_problems`, one line each, concern no single meter: points wait
    in the outbox, or the outbox cannot be used. `notices` are by meter id, one line each. `retriable` are the ids of
    failed meters that may answer a moment later, and `second_attempt` is the result of reading these once more.
    `clock_issue` says why the times of the points are wrong, if they are. `issues` are by meter id the registers that
    did not deliver, and `counters` the energy counters to save.
    """

    due: datetime
    started: datetime
    ended: datetime
    poll_points: Sequence[PollPoint]
    unstored: Mapping[int, str] = field(default_factory=dict)
    store_problems: tuple[str, ...] = ()
    notices: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    retriable: frozenset[int] = frozenset()
    second_attempt: FleetResult | None = None
    clock_issue: str | None = None
    issues: Mapping[int, tuple[RegisterIssue, ...]] = field(default_factory=dict)
    counters: Mapping[int, str] = field(default_factory=dict)

    @property
    def late_s(self) -> float:
        """Seconds from the due time of the reading to its start."""
        return (self.started - self.due).total_seconds()

    @property
    def meters_read(self) -> int:
        """Number of meters that were read without a failure at the first attempt."""
        return _number_ok(self.poll_points)

    def settled(self, ids: Collection[int]) -> dict[int, tuple[PollPoint, str | None]]:
        """Return the final result for each of these meter ids, with the reason if it failed.

        The second attempt counts if it produced at least as many points as the first.
        """
        points = _columns(self.poll_points).of_meters(ids)
        settled = {point.id: (point, point.error or self.unstored.get(point.id)) for point in points}
        if self.second_attempt:
            for meter_id, again in self.second_attempt.settled(ids).items():
                if again[0].points >= settled[meter_id][0].points:
                    settled[meter_id] = again
        return settled

    @property
    def problems(self) -> tuple[str, ...]:
        """Problems with the store and the outbox in both attempts."""
        return self.store_problems + (self.second_attempt.problems if self.second_attempt else ())


@dataclass(frozen=True, slots=True)
class PollResult:
    """The result of polling one meter in a run: success, or failure with a one-line reason.

    `unread` is true if a reading failed, and false if only storing failed. `asleep` is the reason why a meter
    that may be off was not read: it did not reply, which is not a failure. `silent` is true if nothing replied.
    `notices` are one line each. `issues` are the registers that did not deliver at one or more sample times.
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
    asleep: str | None = None
    silent: bool = False
    issues: tuple[RegisterIssue, ...] = ()
    type: str | None = None

    @property
    def is_read(self) -> bool:
        """Whether it was read, and all its points are stored or wait for the store."""
        return self.reason is None and self.asleep is None

    @property
    def ok(self) -> bool:
        """Whether every reading of the meter succeeded, or it may be off, and the store lost none of its points."""
        return self.reason is None


def core_reason(result: PollResult) -> str:
    """Return why a meter fails or is asleep, without counts and times that differ from run to run."""
    return _AT_SOME.sub("", result.reason or result.asleep or "").partition("; failing since ")[0]


_AT_SOME = re.compile(r" \(at \d+ of \d+ sample times\)$")


def results_of(plan: PollPlan, fleet_results: Iterable[FleetResult]) -> list[PollResult]:
    """Return one result per meter of the plan, ordered by id.

    A meter that was not read at one of several sample times has failed, because data is missing; the reason contains
    the number of these sample times. A meter whose points wait in the outbox has not failed.
    """
    fleet_results = list(fleet_results)
    sums, special = _sums_of(fleet_results)
    by_meter: dict[int, list[tuple[PollPoint, str | None]]] = {}
    for fleet_result in fleet_results if special else ():
        for meter_id, settled in fleet_result.settled(special).items():
            by_meter.setdefault(meter_id, []).append(settled)
    attempts = [each for result in fleet_results for each in (result, result.second_attempt) if each]
    notices = {meter_id: lines for attempt in attempts for meter_id, lines in attempt.notices.items()}
    results = [
        _result(meter, by_meter.get(meter.id, []), notices.get(meter.id, ()))
        if meter.id in special or meter.id not in sums
        else _result_of_read(meter, sums[meter.id], notices.get(meter.id, ()))
        for meter in plan.meters
    ]
    issues = _issues_of(attempts)
    if issues:
        results = [replace(each, issues=issues[each.id]) if each.id in issues else each for each in results]
    results += [PollResult(id_, None, "", None, reason, unread=True) for id_, reason in plan.unreadable.items()]
    return sorted(results, key=lambda result: result.id)


def _columns(points: Sequence[PollPoint]) -> PollPoints:
    from emm_pipeline.stores.poll_points import PollPoints  # noqa: PLC0415  # needs NumPy

    return PollPoints.of(points)


def _number_ok(points: Sequence[PollPoint]) -> int:
    return int(_columns(points).polls.ok.sum())


def _sums_of(fleet_results: Sequence[FleetResult]) -> tuple[dict[int, MeterSums], set[int]]:
    """Return the sums of the first attempts by meter id; and the ids for which they are not the result.

    These are the meters that failed, were silent or were read a second time, or have points that are not stored.
    """
    from emm_pipeline.stores.poll_points import sums_of  # noqa: PLC0415  # needs NumPy

    special: set[int] = set()
    for result in fleet_results:
        special.update(result.unstored, _columns(result.poll_points).ids_of_unread())
        if result.second_attempt:
            special.update(_columns(result.second_attempt.poll_points).polls.id.tolist())
    return sums_of([_columns(result.poll_points) for result in fleet_results]), special


def counters_of(fleet_results: Iterable[FleetResult]) -> dict[int, str]:
    """Return, by meter id, the energy counters to save: those of the last reading."""
    attempts = [each for result in fleet_results for each in (result, result.second_attempt) if each]
    return {meter_id: counters for attempt in attempts for meter_id, counters in attempt.counters.items()}


def _issues_of(attempts: Iterable[FleetResult]) -> dict[int, tuple[RegisterIssue, ...]]:
    """Return, by meter id, the registers that did not deliver in one or more attempts, each measurement once."""
    found: dict[int, dict[str, RegisterIssue]] = {}
    for attempt in attempts:
        for meter_id, issues in attempt.issues.items():
            found.setdefault(meter_id, {}).update({issue.measurement: issue for issue in issues})
    return {meter_id: tuple(issues.values()) for meter_id, issues in found.items()}


def _at_some(errors: Sequence[str], sample_times: int) -> str | None:
    """Return the last of the errors, with their number if there were several sample times; None if there is none."""
    if not errors:
        return None
    return f"{errors[-1]} (at {len(errors)} of {sample_times} sample times)" if sample_times > 1 else errors[-1]


def _result(meter: EnergyMeter, settled: list[tuple[PollPoint, str | None]], notices: tuple[str, ...]) -> PollResult:
    off = [error for point, error in settled if error and point.silent and meter.may_be_off]
    errors = [error for point, error in settled if error and not (point.silent and meter.may_be_off)]
    reason = _at_some(errors, len(settled)) if settled else "it was not read at any sample time"
    silent = bool(settled) and settled[-1][0].silent and not (off and errors)
    asleep = _at_some(off, len(settled)) if silent else None
    return PollResult(
        meter.id,
        meter.description,
        meter.address,
        meter.unit_id,
        reason,
        read_at=max((point.time for point, _ in settled if point.points), default=None),
        points=sum(point.points for point, _ in settled),
        requests=sum(point.requests for point, _ in settled),
        latency_ms=max((point.latency_ms for point, _ in settled), default=0.0),
        unread=not settled or any(point.error for point, _ in settled),
        notices=notices,
        asleep=asleep,
        silent=silent,
        type=meter.type,
    )


def _result_of_read(meter: EnergyMeter, sums: MeterSums, notices: tuple[str, ...]) -> PollResult:
    """Return the result of a meter that was read at each sample time."""
    return PollResult(
        *(meter.id, meter.description, meter.address, meter.unit_id, None),
        *(sums.read_at, sums.points, sums.requests, sums.latency_ms),
        notices=notices,
        type=meter.type,
    )
