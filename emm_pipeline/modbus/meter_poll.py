"""What was read of one meter so far, and which requests are left: a meter reading in progress."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from emm_pipeline.modbus.exception_codes import DEVICE_FAILURE, UNIT_IS_SILENT, UNSUPPORTED
from emm_pipeline.modbus.last_requests import LastRequests
from emm_pipeline.modbus.messages import describe_most_registers, describe_unsupported, named
from emm_pipeline.modbus.splitting import TrackedRequest, UnsupportedRegisters, explain
from emm_pipeline.readings import BUSY_EXCEPTIONS, Failure, FailureKind, MeterReading, RegisterBlock, UnsupportedRange

if TYPE_CHECKING:
    from collections.abc import Iterable

    from emm_pipeline.fleet import EnergyMeter, MeterType
    from emm_pipeline.readings import Request

RETRIES = 2
"""How often, in one meter reading, a request is repeated to a unit that is busy."""

RETRY_PAUSE_S = 0.5
"""At least so much later."""


@dataclass(slots=True, eq=False)
class MeterPoll:
    """The requests to one meter, and what came of them. It sends nothing itself.

    A meter has turns. What must be requested again, after a pause or in smaller pieces, is left for another turn, so
    that it costs the other units behind the gateway no time.
    """

    meter: EnergyMeter
    meter_type: MeterType
    requests: tuple[Request, ...]
    known_unsupported: tuple[UnsupportedRange, ...] = ()
    retries: int = RETRIES
    last: LastRequests = field(default_factory=LastRequests)
    """What is requested after everything else."""
    blocks: list[RegisterBlock] = field(default_factory=list)
    failure: Failure | None = None
    sent: int = 0
    ready_at: float = 0.0
    """When the next turn may begin, on the clock of `time.monotonic`."""
    _tracked: list[TrackedRequest] = field(default_factory=list)
    _this_turn: deque[TrackedRequest] = field(default_factory=deque)
    _next_turn: list[TrackedRequest] = field(default_factory=list)
    _busy: Failure | None = None
    """The exception reply of a unit that was busy, and gets the same request again after a pause."""
    _first_split: Failure | None = None
    """Why the first request that was split had to be."""
    _time: datetime | None = None
    _first_request_s: float = 0.0
    _last_reply_s: float = 0.0

    def __post_init__(self) -> None:
        self.set_requests(self.requests)

    def set_requests(self, requests: Iterable[Request]) -> None:
        """Replaces what is left to be requested."""
        self._tracked = [TrackedRequest(request) for request in requests]
        self._this_turn.clear()
        self._next_turn = list(self._tracked)

    @property
    def is_done(self) -> bool:
        """Whether nothing is left for another turn."""
        return not self._next_turn

    def begin_turn(self) -> None:
        """Begins a turn; as long as nothing was sent, this is the time of the reading."""
        self._this_turn = deque(self._next_turn)
        self._next_turn = []
        if not self.sent:
            self._time = _now()

    @property
    def next_request(self) -> Request | None:
        """The next request of this turn; None at its end."""
        if self._this_turn:
            return self._this_turn[0].request
        return self.last.next if self._is_at_last else None

    @property
    def _is_at_last(self) -> bool:
        """Whether only requests are left that come last."""
        return bool(self.last.next and self.blocks and not self._this_turn and not self._next_turn)

    def request_sent(self) -> None:
        """The next request is being sent; the first one that brings registers is the time of the reading."""
        if not self.blocks:
            self._time = _now()
        if not self.sent:
            self._first_request_s = self._last_reply_s = time.monotonic()
        self.sent += 1

    def take_registers(self, data: bytes) -> None:
        """Keeps the registers that the request brought."""
        self._last_reply_s = time.monotonic()
        self._busy = None
        if self._is_at_last and self.last.is_at_labels:
            self.last.take_label(data)
        elif self._is_at_last:
            self.blocks.append(RegisterBlock(self.last.pop(), data, len(self.blocks)))
        else:
            tracked = self._this_turn.popleft()
            tracked.was_read = True
            self.blocks.append(RegisterBlock(tracked.request, data, len(self.blocks)))

    def take_exception(self, reason: str, exception_code: int) -> None:
        """The request brought an exception reply: its code decides what is requested further."""
        self._last_reply_s = time.monotonic()
        failure = self._failure(FailureKind.EXCEPTION, reason, exception_code)
        if self._is_at_last:
            self._fail_last(failure)
        elif exception_code in BUSY_EXCEPTIONS and self.retries:
            self._repeat_later(failure)
        else:
            self._take_final_exception(failure, exception_code)

    def _take_final_exception(self, failure: Failure, exception_code: int) -> None:
        tracked = self._this_turn.popleft()
        if exception_code in UNSUPPORTED:
            self._first_split = self._first_split or failure
            tracked.split(exception_code, self.meter_type.asked)
            self._next_turn += tracked.share_parts(self._tracked)
        if exception_code not in UNSUPPORTED or (tracked.is_one_value and exception_code == DEVICE_FAILURE):
            self.failure = self.failure or failure
        if exception_code == UNIT_IS_SILENT:  # each further request would cost the gateway's own timeout
            self._give_up()

    def _repeat_later(self, failure: Failure) -> None:
        self.retries -= 1
        self.ready_at = time.monotonic() + RETRY_PAUSE_S
        self._busy = failure
        self._next_turn = [*self._this_turn, *self._next_turn]
        self._this_turn.clear()

    def fail_request(self, kind: FailureKind, reason: str) -> None:
        """The request brought no reply, or none to be trusted. Nothing more is requested."""
        failure = self._failure(kind, reason)
        if self._is_at_last:
            self._fail_last(failure)
        else:
            self.failure = failure
        self._give_up()

    def _fail_last(self, failure: Failure) -> None:
        """One of the requests that come last has failed."""
        if self.last.is_at_labels:
            self.last.fail_label(failure.reason, failure.exception_code)
        else:
            self.failure = self.failure or failure
            self.last.pop()

    def fail(self, kind: FailureKind, reason: str) -> None:
        """Sets why the meter gave no data; replaces an earlier failure. Nothing more is requested."""
        self.failure = Failure(kind, self._located(reason))
        self._give_up()

    def run_out_of_time(self, progress: str) -> None:
        """The deadline has passed. That the unit was busy, if it was, is the better reason."""
        if self._busy:
            self.failure = self._busy
            self._give_up()
        elif self._is_at_last and self.last.is_at_labels:
            self._give_up()
        else:
            what = "not read to its end by" if self.sent else "not reached before"
            self.fail(FailureKind.DEADLINE, f"{what} the deadline ({progress})")

    def _give_up(self) -> None:
        self._this_turn.clear()
        self._next_turn.clear()
        self.last.clear()

    def reading(self) -> MeterReading:
        """The meter as read so far. That registers are unsupported is believed only of a unit that gave others."""
        failure = self.failure
        if not self.blocks and (failure is None or failure.exception_code in UNSUPPORTED):
            failure = self._first_split
        requested = list(dict.fromkeys(leaf for each in self._tracked for leaf in each.leaves))
        if failure and self.sent and len(requested) > 1:
            progress = f"{len(self.blocks)} of {len(requested)} requests answered"
            failure = Failure(failure.kind, f"{failure.reason}; {progress}", failure.exception_code)
        found = explain(self._tracked) if self.blocks else UnsupportedRegisters()
        at = self._time or _now()
        unsupported = self.known_unsupported + tuple(
            UnsupportedRange(range_.function_code, range_.address, range_.count, code, at)
            for range_, code in found.ranges
        )
        notices = [describe_unsupported(each, self.meter_type) for each in unsupported]
        if self.last.notice:
            notices.append(self.last.notice)
        if found.most_registers:
            notices.append(describe_most_registers(found.most_registers, self.meter_type))
        return MeterReading(
            meter=self.meter,
            time=at,
            # Sorted, so that meters alike are decoded together in whatever order their blocks came
            blocks=tuple(sorted(self.blocks, key=_by_place)),
            failure=failure,
            requests=self.sent,
            latency_ms=(self._last_reply_s - self._first_request_s) * 1000,
            unsupported=unsupported,
            notices=tuple(notices),
            labels=self.last.labels_of(self.meter_type.labels),
        )

    def _failure(self, kind: FailureKind, reason: str, exception_code: int | None = None) -> Failure:
        """Why the next request failed."""
        link = {FailureKind.TIMEOUT: " to", FailureKind.EXCEPTION: " for"}.get(kind, ", asked for")
        return Failure(kind, self._located(f"{reason}{link} {self._next_request_in_words()}"), exception_code)

    def _next_request_in_words(self) -> str:
        request = self.last.next if self._is_at_last else self._this_turn[0].request
        return named(request, self.meter_type) if request else ""

    def _located(self, reason: str) -> str:
        return " ".join(f"{self.meter.address} unit {self.meter.unit_id}: {reason}".split())


def _by_place(block: RegisterBlock) -> tuple[int, int, int]:
    """The same place twice in the order in which it was read."""
    return block.request.function_code, block.request.address, block.order


def _now() -> datetime:
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)
