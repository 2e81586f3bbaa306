"""The progress of a meter reading: the registers read so far, the requests that are left, and their results."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from emm_pipeline.modbus.exception_codes import DEVICE_FAILURE, UNSUPPORTED
from emm_pipeline.modbus.last_requests import NOTHING_LAST, LastRequests
from emm_pipeline.modbus.messages import describe_most_registers, describe_unsupported, named
from emm_pipeline.modbus.silences import Silences
from emm_pipeline.modbus.splitting import NOTHING_FOUND, TrackedRequest, explain, first_value
from emm_pipeline.modbus.unsupported import (
    NOTHING_EARLIER,
    EarlierRequests,
    is_silent_value,
    known_too_long,
    request_of,
)
from emm_pipeline.readings import Failure, FailureKind, MeterReading, RegisterBlock, Request, UnsupportedRange

if TYPE_CHECKING:
    from collections.abc import Iterable

    from emm_pipeline.fleet import EnergyMeter, MeterType

RETRIES = 2
"""Maximum number of repetitions of a request to a busy unit in one meter reading."""


@dataclass(slots=True, eq=False)
class PollProgress:
    """The requests to one meter that are left, and the results of the others.

    `was_silent` is true if the unit sent nothing when it was read last: it then first receives a request for one value,
    because some units reply to no request for several values.
    """

    meter: EnergyMeter
    meter_type: MeterType
    requests: tuple[Request, ...]
    known_unsupported: tuple[UnsupportedRange, ...] = ()
    retries: int = RETRIES
    earlier: EarlierRequests = NOTHING_EARLIER
    keeps_failing: bool = False
    was_silent: bool = False
    last: LastRequests = NOTHING_LAST
    """The requests that are sent after all others."""
    blocks: list[RegisterBlock] = field(default_factory=list)
    failure: Failure | None = None
    explanation: str | None = None
    """The failure that a virtual server reports of itself."""
    notices: tuple[str, ...] = ()
    """Lines about unusual replies."""
    sent: int = 0
    ready_at: float = 0.0
    """Earliest time of the next turn, on the clock of `time.monotonic`."""
    _tracked: list[TrackedRequest] = field(init=False)
    _this_turn: deque[TrackedRequest] = field(init=False)
    _next_turn: list[TrackedRequest] = field(init=False)
    _busy: Failure | None = None
    """The exception reply of a busy unit, to which the same request is sent again after a pause."""
    _first_split: Failure | None = None
    """Why the first split request had to be split."""
    _silences: Silences = field(default_factory=Silences)
    _time: datetime | None = None
    _first_request_s: float = 0.0
    _last_reply_s: float = 0.0

    def __post_init__(self) -> None:
        self.set_requests(self.requests)

    def set_requests(self, requests: Iterable[Request]) -> None:
        """Replace the requests that are left."""
        self._tracked = [TrackedRequest(request) for request in requests]
        self._this_turn = deque()
        self._next_turn = self._tracked.copy()
        if too_long := known_too_long(self.known_unsupported, self.meter_type.asked):
            for each in self._tracked:
                if each.request in too_long:
                    each.split_beforehand(self.meter_type.asked)
            self._next_turn = [leaf for each in self._tracked for leaf in each.leaves]
        if silent := self.earlier.silent:
            last = [TrackedRequest(request_of(each, self.meter_type.register_bytes)) for each in silent]
            self._tracked += last
            self._next_turn += last
        if self.was_silent and not self._silences.has_replied and self._next_turn:
            first = TrackedRequest(first_value(self._next_turn[0].request, self.meter_type.asked))
            if first.request != self._next_turn[0].request:
                self._tracked.insert(0, first)
                self._next_turn.insert(0, first)

    @property
    def is_done(self) -> bool:
        """Whether no requests are left for another turn."""
        return not self._next_turn

    def begin_turn(self) -> None:
        """Begin a turn; until a request is sent, its start is the time of the reading."""
        self._this_turn = deque(self._next_turn)
        self._next_turn = []
        if not self.sent:
            self._time = datetime.now(UTC)

    @property
    def next_request(self) -> Request | None:
        """Return the next request of this turn; None at its end."""
        if self._this_turn:
            return self._this_turn[0].request
        return self.last.next if self._is_at_last else None

    @property
    def _is_at_last(self) -> bool:
        """Whether only requests are left that come last."""
        return bool(self.last.next and self.blocks and not self._this_turn and not self._next_turn)

    @property
    def device_failed(self) -> bool:
        """Whether nothing was read because the device replied that it has failed (exception 4)."""
        failure = self.failure or self._first_split
        return not self.blocks and failure is not None and failure.exception_code == DEVICE_FAILURE

    def request_sent(self) -> None:
        """Record that the next request is sent; the first successful request determines the time of the reading."""
        if not self.blocks:
            self._time = datetime.now(UTC)
        if not self.sent:
            self._first_request_s = self._last_reply_s = time.monotonic()
        self.sent += 1

    def fail(self, kind: FailureKind, reason: str) -> None:
        """Set the meter's failure, replacing an earlier one. No further requests are sent."""
        self.failure = Failure(kind, self._located(reason))
        self._give_up()

    def _give_up(self) -> None:
        self._this_turn.clear()
        self._next_turn.clear()
        self.last.clear()

    def reading(self) -> MeterReading:
        """Return the meter as read so far. Registers count as unsupported only if the unit sent others."""
        failure = self.failure
        if not self.blocks and (failure is None or failure.exception_code in UNSUPPORTED):
            failure = self._first_split
        failure = failure or self._silences.unconfirmed
        if failure and self.sent and len(requested := self._all_requested()) > 1:
            progress = f"{len(self.blocks)} of {len(requested)} requests answered"
            failure = Failure(failure.kind, f"{failure.reason}; {progress}", failure.exception_code)
        if failure and self.explanation:
            failure = Failure(failure.kind, f"{failure.reason}; {self.explanation}", failure.exception_code)
        found = explain(self._tracked) if self.blocks else NOTHING_FOUND
        at = _in_whole_milliseconds(self._time or datetime.now(UTC))
        unsupported = self.known_unsupported
        if found.ranges:
            asked = self.meter_type.asked
            unsupported += tuple(self.earlier.judge(range_, code, at, asked) for range_, code in found.ranges)
        # A single value without a reply for the first time may be chance: another attempt shows if the unit has it.
        by_chance = [r for r in unsupported if r.times_refused == 1 and is_silent_value(r, self.meter_type.asked)]
        failure = failure or (self._silences.first if by_chance else None)
        notices = [*self.notices, *(describe_unsupported(each, self.meter_type) for each in unsupported)]
        if self.last.notice:
            notices.append(self.last.notice)
        if found.most_registers:
            notices.append(describe_most_registers(found.most_registers, self.meter_type))
        return MeterReading(
            meter=self.meter,
            time=at,
            # Sorted, so that similar meters are decoded together whatever the order of their blocks
            blocks=tuple(self.blocks if len(self.blocks) == 1 else sorted(self.blocks, key=_by_place)),
            failure=failure,
            requests=self.sent,
            latency_ms=(self._last_reply_s - self._first_request_s) * 1000,
            unsupported=unsupported,
            notices=tuple(notices),
            labels=self.last.labels_of(self.meter_type.labels),
        )

    def _all_requested(self) -> set[TrackedRequest]:
        return {leaf for each in self._tracked for leaf in each.leaves}

    def _failure(self, kind: FailureKind, reason: str, exception_code: int | None = None) -> Failure:
        """Return the failure of the next request."""
        link = {FailureKind.TIMEOUT: " to", FailureKind.EXCEPTION: " for"}.get(kind, ", asked for")
        return Failure(kind, self._located(f"{reason}{link} {self._next_request_in_words()}"), exception_code)

    def _next_request_in_words(self) -> str:
        request = self.last.next if self._is_at_last else self._this_turn[0].request
        return named(request, self.meter_type) if request else ""

    def _located(self, reason: str) -> str:
        return " ".join(f"{self.meter.gateway.name} unit {self.meter.unit_id}: {reason}".split())


def _by_place(block: RegisterBlock) -> tuple[int, int, int]:
    """Sort blocks by their place; blocks of the same place are in the order in which they were read."""
    return block.request.function_code, block.request.address, block.order


def _in_whole_milliseconds(time_: datetime) -> datetime:
    return time_ - timedelta(microseconds=time_.microsecond % 1000)  # `replace` takes twice as long
