"""A meter reading in progress: the registers read so far, and the requests that are left."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from emm_pipeline.modbus.exception_codes import DEVICE_FAILURE, NO_REPLY, UNIT_IS_SILENT, UNSUPPORTED
from emm_pipeline.modbus.messages import describe_most_registers, describe_unsupported, named
from emm_pipeline.modbus.silences import SILENCE, Silences
from emm_pipeline.modbus.splitting import TrackedRequest, UnsupportedRegisters, explain, first_value
from emm_pipeline.modbus.unsupported import (
    NOTHING_EARLIER,
    EarlierRequests,
    is_silent_value,
    known_too_long,
    request_of,
)
from emm_pipeline.readings import (
    BUSY_EXCEPTIONS,
    Failure,
    FailureKind,
    MeterReading,
    RegisterBlock,
    Request,
    UnsupportedRange,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from emm_pipeline.fleet import EnergyMeter, MeterType

RETRIES = 2
"""Maximum number of repetitions of a request to a busy unit in one meter reading."""

RETRY_PAUSE_S = 0.5
"""Minimum pause in seconds before such a repetition."""


@dataclass(slots=True, eq=False)
class MeterPoll:
    """The requests to one meter, and their results. This class sends nothing itself.

    A meter has turns. What must be requested again, after a pause or in smaller pieces, is left for another turn, so
    that it costs the other units behind the gateway no time.

    `was_silent` says that the unit gave nothing when it was read last: then it first gets a request for one value,
    since there are units that reply to none for several.
    """

    meter: EnergyMeter
    meter_type: MeterType
    requests: tuple[Request, ...]
    known_unsupported: tuple[UnsupportedRange, ...] = ()
    retries: int = RETRIES
    earlier: EarlierRequests = NOTHING_EARLIER
    keeps_failing: bool = False
    was_silent: bool = False
    blocks: list[RegisterBlock] = field(default_factory=list)
    failure: Failure | None = None
    notices: tuple[str, ...] = ()
    """What was unusual about the replies, a line each."""
    sent: int = 0
    ready_at: float = 0.0
    """Earliest time of the next turn, on the clock of `time.monotonic`."""
    _tracked: list[TrackedRequest] = field(default_factory=list)
    _this_turn: deque[TrackedRequest] = field(default_factory=deque)
    _next_turn: list[TrackedRequest] = field(default_factory=list)
    _busy: Failure | None = None
    """The exception reply of a busy unit, to which the same request is sent again after a pause."""
    _first_split: Failure | None = None
    """Why the first request that was split had to be."""
    _silences: Silences = field(default_factory=Silences)
    _time: datetime | None = None
    _first_request_s: float = 0.0
    _last_reply_s: float = 0.0

    def __post_init__(self) -> None:
        self.set_requests(self.requests)

    def set_requests(self, requests: Iterable[Request]) -> None:
        """Replace the requests that are left."""
        self._tracked = [TrackedRequest(request) for request in requests]
        too_long = known_too_long(self.known_unsupported, self.meter_type.asked)
        for each in self._tracked:
            if each.request in too_long:
                each.split_beforehand(self.meter_type.asked)
        self._this_turn.clear()
        self._next_turn = [leaf for each in self._tracked for leaf in each.leaves]
        self._tracked += (last := [TrackedRequest(request_of(each)) for each in self.earlier.silent])
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
            self._time = _now()

    @property
    def next_request(self) -> Request | None:
        """Return the next request of this turn; None at its end."""
        return self._this_turn[0].request if self._this_turn else None

    def request_sent(self) -> None:
        """Record that the next request is sent; the first successful request determines the time of the reading."""
        if not self.blocks:
            self._time = _now()
        if not self.sent:
            self._first_request_s = self._last_reply_s = time.monotonic()
        self.sent += 1

    def take_registers(self, data: bytes) -> None:
        """Keep the registers that the request brought."""
        self._note_reply()
        self._busy = None
        tracked = self._this_turn.popleft()
        if tracked is self._silences.sign_of_life:
            return
        tracked.was_read = True
        self.blocks.append(RegisterBlock(tracked.request, data))

    def take_exception(self, reason: str, exception_code: int) -> None:
        """The request brought an exception reply: its code decides what is requested further."""
        self._note_reply()
        failure = self._failure(FailureKind.EXCEPTION, reason, exception_code)
        if exception_code in BUSY_EXCEPTIONS and self.retries:
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
        if exception_code == UNIT_IS_SILENT:  # each further request would take the gateway's own timeout
            self._give_up()

    def _note_reply(self) -> None:
        self._last_reply_s = time.monotonic()
        self._silences.note_reply()

    def _repeat_later(self, failure: Failure) -> None:
        self.retries -= 1
        self.ready_at = time.monotonic() + RETRY_PAUSE_S
        self._leave_for_another_turn(failure)

    def postpone(self, kind: FailureKind, reason: str) -> None:
        """The request brought no reply, and is left for another turn as it is."""
        self._leave_for_another_turn(self._failure(kind, reason))

    def _leave_for_another_turn(self, failure: Failure) -> None:
        self._busy = failure
        self._next_turn = [*self._this_turn, *self._next_turn]
        self._this_turn.clear()

    def fail_request(self, kind: FailureKind, reason: str) -> None:
        """The request brought no reply, or none to be trusted.

        A unit that replied to something else may send nothing, or close the connection, where it does not support some
        of the registers or so many of them: the request is split. Otherwise nothing more is requested.
        """
        failure = self._failure(kind, reason)
        if not self._silences.add(self._this_turn[0], failure):
            self.failure = (self._silences.first if kind in SILENCE else None) or failure
            self._give_up()
            return
        tracked = self._this_turn.popleft()
        tracked.split(NO_REPLY, self.meter_type.asked)
        self._next_turn += tracked.share_parts(self._tracked)
        if request := self._silences.look_for_a_sign_of_life(
            self._tracked, is_last=not (self._this_turn or self._next_turn)
        ):
            self._this_turn.appendleft(request)

    def fail(self, kind: FailureKind, reason: str) -> None:
        """Set the meter's failure, replacing an earlier one. No further requests are sent."""
        self.failure = Failure(kind, self._located(reason))
        self._give_up()

    def run_out_of_time(self, progress: str) -> None:
        """Fail the meter because the deadline has passed; if the unit was busy, that is the reported reason."""
        if self._busy:
            self.failure = self._busy
            self._give_up()
        else:
            what = "not read completely by" if self.sent else "not reached before"
            self.fail(FailureKind.DEADLINE, f"{what} the deadline ({progress})")

    def _give_up(self) -> None:
        self._this_turn.clear()
        self._next_turn.clear()

    def reading(self) -> MeterReading:
        """Return the meter as read so far. Registers count as unsupported only if the unit sent others."""
        failure = self.failure
        if not self.blocks and (failure is None or failure.exception_code in UNSUPPORTED):
            failure = self._first_split
        requested = list(dict.fromkeys(leaf for each in self._tracked for leaf in each.leaves))
        failure = failure or self._silences.unconfirmed
        if failure and self.sent and len(requested) > 1:
            progress = f"{len(self.blocks)} of {len(requested)} requests answered"
            failure = Failure(failure.kind, f"{failure.reason}; {progress}", failure.exception_code)
        found = explain(self._tracked) if self.blocks else UnsupportedRegisters()
        at = self._time or _now()
        unsupported = self.known_unsupported + tuple(
            self.earlier.judge(range_, code, at, self.meter_type.asked) for range_, code in found.ranges
        )
        # A value without reply for the first time: it may be chance, and another attempt shows whether the unit has it.
        by_chance = [r for r in unsupported if r.times_refused == 1 and is_silent_value(r, self.meter_type.asked)]
        failure = failure or (self._silences.first if by_chance else None)
        notices = [*self.notices, *(describe_unsupported(each, self.meter_type) for each in unsupported)]
        if found.most_registers:
            notices.append(describe_most_registers(found.most_registers, self.meter_type))
        return MeterReading(
            meter=self.meter,
            time=at,
            # Sorted, so that similar meters are decoded together whatever the order of their blocks
            blocks=tuple(sorted(self.blocks, key=lambda block: (block.request.function_code, block.request.address))),
            failure=failure,
            requests=self.sent,
            latency_ms=(self._last_reply_s - self._first_request_s) * 1000,
            unsupported=unsupported,
            notices=tuple(notices),
        )

    def _failure(self, kind: FailureKind, reason: str, exception_code: int | None = None) -> Failure:
        """Return the failure of the next request."""
        link = {FailureKind.TIMEOUT: " to", FailureKind.EXCEPTION: " for"}.get(kind, ", asked for")
        return Failure(kind, self._located(f"{reason}{link} {self._next_request_in_words()}"), exception_code)

    def _next_request_in_words(self) -> str:
        return named(self._this_turn[0].request, self.meter_type)

    def _located(self, reason: str) -> str:
        return " ".join(f"{self.meter.gateway.name} unit {self.meter.unit_id}: {reason}".split())


def _now() -> datetime:
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)
