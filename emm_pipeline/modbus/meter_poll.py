"""A meter reading in progress: each reply decides which requests follow."""

from __future__ import annotations

import time
from dataclasses import dataclass

from emm_pipeline.modbus.exception_codes import DEVICE_FAILURE, NO_REPLY, UNSUPPORTED
from emm_pipeline.modbus.poll_progress import RETRIES, PollProgress
from emm_pipeline.modbus.silences import SILENCE
from emm_pipeline.readings import BUSY_EXCEPTIONS, UNIT_IS_SILENT, Failure, FailureKind, RegisterBlock

__all__ = ["RETRIES", "RETRY_PAUSE_S", "MeterPoll"]

RETRY_PAUSE_S = 0.5
"""Minimum pause in seconds before a request to a busy unit is repeated."""


@dataclass(slots=True, eq=False)
class MeterPoll(PollProgress):
    """The requests to one meter, and their results. This class sends nothing itself.

    A meter is read in turns. Requests that must be repeated, after a pause or in smaller pieces, are left for another
    turn, so that they do not delay the other units behind the gateway.
    """

    def split_request(self) -> bool:
        """Replace the next request by smaller ones, if it is for several values; return whether that was done."""
        if not self._this_turn or self._this_turn[0] is self._silences.sign_of_life:
            return False
        tracked = self._this_turn[0]
        if not tracked.split_beforehand(self.meter_type.asked):
            return False
        self._this_turn.popleft()
        self._this_turn.extendleft(reversed(tracked.share_parts(self._tracked)))
        return True

    def take_registers(self, data: bytes) -> None:
        """Keep the registers that the request brought."""
        self._note_reply()
        self._busy = None
        if not self._this_turn:
            self._take_last(data)
            return
        tracked = self._this_turn.popleft()
        if tracked is self._silences.sign_of_life:
            return
        tracked.was_read = True
        self.blocks.append(RegisterBlock(tracked.request, data, len(self.blocks)))

    def _take_last(self, data: bytes) -> None:
        if self.last.is_at_labels:
            self.last.take_label(data)
        else:
            self.blocks.append(RegisterBlock(self.last.pop(), data, len(self.blocks)))

    def take_exception(self, reason: str, exception_code: int) -> None:
        """The request brought an exception reply: its code decides what is requested next."""
        self._note_reply()
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
        if self._is_at_last:  # the last requests are not repeated
            self.last.clear()
        self._busy = failure
        self._next_turn = [*self._this_turn, *self._next_turn]
        self._this_turn.clear()

    def fail_request(self, kind: FailureKind, reason: str) -> None:
        """The request brought no reply, or an invalid one.

        A unit that replied to something else may send nothing, or close the connection, where it does not support some
        of the registers or so many of them: the request is split. Otherwise nothing more is requested.
        """
        failure = self._failure(kind, reason)
        if self._is_at_last:
            self._fail_last(failure)
            self._give_up()
            return
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

    def _fail_last(self, failure: Failure) -> None:
        """One of the requests that come last has failed."""
        if self.last.is_at_labels:
            self.last.fail_label(failure.reason, failure.exception_code)
        else:
            self.failure = self.failure or failure
            self.last.pop()

    def run_out_of_time(self, progress: str) -> None:
        """Fail the meter because the deadline has passed; if the unit was busy, that is the reported reason."""
        if self._busy:
            self.failure = self._busy
            self._give_up()
        elif self._is_at_last and self.last.is_at_labels:
            self._give_up()
        else:
            what = "not read completely by" if self.sent else "not reached before"
            self.fail(FailureKind.DEADLINE, f"{what} the deadline ({progress})")
