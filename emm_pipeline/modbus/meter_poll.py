"""What has come of reading one meter so far: a sample in the making."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from emm_pipeline.modbus.exception_codes import DEVICE_FAILURE, REFUSALS, UNIT_IS_SILENT
from emm_pipeline.modbus.messages import describe_most_registers, describe_refused, named
from emm_pipeline.modbus.splitting import TrackedRequest, UnsupportedRegisters, explain
from emm_pipeline.readings import BUSY_EXCEPTIONS, Failure, FailureKind, MeterReading, RegisterBlock, UnsupportedRange

if TYPE_CHECKING:
    from collections.abc import Iterable

    from emm_pipeline.fleet import EnergyMeter, MeterType
    from emm_pipeline.readings import Request

RETRIES = 2
"""How often a unit that has no time for us is asked again in a sample."""

RETRY_PAUSE_S = 0.5
"""At least so much later."""


@dataclass(slots=True, eq=False)
class MeterPoll:
    """The requests that one meter is to answer, and what has come of them.

    A meter is asked in turns. What must be asked again, after a pause or in smaller pieces, is left for another turn,
    so that it costs the other units on the gateway no time.
    """

    meter: EnergyMeter
    meter_type: MeterType
    requests: tuple[Request, ...]
    known_unsupported: tuple[UnsupportedRange, ...] = ()
    retries: int = RETRIES
    blocks: list[RegisterBlock] = field(default_factory=list)
    failure: Failure | None = None
    sent: int = 0
    ready_at: float = 0.0
    """Until when the next turn has to wait, on the clock of `time.monotonic`."""
    _questions: list[TrackedRequest] = field(default_factory=list)
    _this_turn: deque[TrackedRequest] = field(default_factory=deque)
    _next_turn: list[TrackedRequest] = field(default_factory=list)
    _busy: Failure | None = None
    """What a unit said that is asked again after a pause."""
    _refusal: Failure | None = None
    """The first request that was split."""
    _time: datetime | None = None
    _first_request_s: float = 0.0
    _last_reply_s: float = 0.0

    def __post_init__(self) -> None:
        self.ask(self.requests)

    def ask(self, requests: Iterable[Request]) -> None:
        """Let these requests be all that the meter is asked."""
        self._questions = [TrackedRequest(request) for request in requests]
        self._this_turn.clear()
        self._next_turn = list(self._questions)

    @property
    def is_done(self) -> bool:
        """Whether nothing is left for another turn."""
        return not self._next_turn

    def begin_turn(self) -> None:
        """The meter's turn has come; as long as nothing was sent, this is when it was tried."""
        self._this_turn = deque(self._next_turn)
        self._next_turn = []
        if not self.sent:
            self._time = _now()

    @property
    def next_request(self) -> Request | None:
        """What to ask next in this turn."""
        return self._this_turn[0].request if self._this_turn else None

    def request_sent(self) -> None:
        """The next request is being sent; the first one that brings registers stamps the sample."""
        if not self.blocks:
            self._time = _now()
        if not self.sent:
            self._first_request_s = self._last_reply_s = time.monotonic()
        self.sent += 1

    def keep(self, data: bytes) -> None:
        """Keeps the registers that the request brought."""
        self._last_reply_s = time.monotonic()
        self._busy = None
        asked = self._this_turn.popleft()
        asked.answered = True
        self.blocks.append(RegisterBlock(asked.request, data))

    def take_exception(self, reason: str, exception_code: int) -> None:
        """The unit answered the request with an exception: what more is asked depends on which."""
        self._last_reply_s = time.monotonic()
        failure = self._failure(FailureKind.EXCEPTION, reason, exception_code)
        if exception_code in BUSY_EXCEPTIONS and self.retries:
            self._ask_again_later(failure)
        else:
            self._take_final_exception(failure, exception_code)

    def _take_final_exception(self, failure: Failure, exception_code: int) -> None:
        asked = self._this_turn.popleft()
        if exception_code in REFUSALS:
            self._refusal = self._refusal or failure
            asked.refuse(exception_code, self.meter_type.asked)
            self._next_turn += asked.share_parts(self._questions)
        if exception_code not in REFUSALS or (asked.is_one_value and exception_code == DEVICE_FAILURE):
            self.failure = self.failure or failure
        if exception_code == UNIT_IS_SILENT:  # each further request would cost the gateway's own timeout
            self._give_up()

    def _ask_again_later(self, failure: Failure) -> None:
        self.retries -= 1
        self.ready_at = time.monotonic() + RETRY_PAUSE_S
        self._busy = failure
        self._next_turn = [*self._this_turn, *self._next_turn]
        self._this_turn.clear()

    def fail_request(self, kind: FailureKind, reason: str) -> None:
        """The request brought no reply, or none to be trusted. Nothing more is asked."""
        self.failure = self._failure(kind, reason)
        self._give_up()

    def fail(self, kind: FailureKind, reason: str) -> None:
        """States why the meter gave no data; replaces what was stated before. Nothing more is asked."""
        self.failure = Failure(kind, self._located(reason))
        self._give_up()

    def run_out_of_time(self, progress: str) -> None:
        """The sample's deadline has come; that the unit was busy is the better reason."""
        if self._busy:
            self.failure = self._busy
            self._give_up()
        else:
            what = "not read to its end by" if self.sent else "not reached before"
            self.fail(FailureKind.DEADLINE, f"{what} the sample's deadline ({progress})")

    def _give_up(self) -> None:
        self._this_turn.clear()
        self._next_turn.clear()

    def sample(self) -> MeterReading:
        """The meter as read so far. What it refuses is believed only of a unit that gave something."""
        failure = self.failure
        if not self.blocks and (failure is None or failure.exception_code in REFUSALS):
            failure = self._refusal
        asked = list(dict.fromkeys(leaf for each in self._questions for leaf in each.leaves))
        if failure and self.sent and len(asked) > 1:
            answered = f"{len(self.blocks)} of {len(asked)} requests answered"
            failure = Failure(failure.kind, f"{failure.reason}; {answered}", failure.exception_code)
        refusals = explain(self._questions) if self.blocks else UnsupportedRegisters()
        at = self._time or _now()
        refused = self.known_unsupported + tuple(
            UnsupportedRange(range_.function_code, range_.address, range_.count, code, at)
            for range_, code in refusals.ranges
        )
        notices = [describe_refused(each, self.meter_type) for each in refused]
        if refusals.most_registers:
            notices.append(describe_most_registers(refusals.most_registers, self.meter_type))
        return MeterReading(
            meter=self.meter,
            time=at,
            # Sorted, so that meters alike are decoded together however they came to be asked
            blocks=tuple(sorted(self.blocks, key=lambda block: (block.request.function_code, block.request.address))),
            failure=failure,
            requests=self.sent,
            latency_ms=(self._last_reply_s - self._first_request_s) * 1000,
            refused=refused,
            notices=tuple(notices),
        )

    def _failure(self, kind: FailureKind, reason: str, exception_code: int | None = None) -> Failure:
        """What is wrong with the next request."""
        link = {FailureKind.TIMEOUT: " to", FailureKind.EXCEPTION: " for"}.get(kind, ", asked for")
        return Failure(kind, self._located(f"{reason}{link} {self._what_is_asked()}"), exception_code)

    def _what_is_asked(self) -> str:
        return named(self._this_turn[0].request, self.meter_type)

    def _located(self, reason: str) -> str:
        return " ".join(f"{self.meter.address} unit {self.meter.unit_id}: {reason}".split())


def _now() -> datetime:
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)
