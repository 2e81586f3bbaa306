"""Registers that a unit is known not to send, and those that a meter reading adds. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from emm_pipeline.modbus.exception_codes import NO_REPLY
from emm_pipeline.modbus.planning import avoided_requests, outermost
from emm_pipeline.readings import Request, UnsupportedRange
from emm_pipeline.registers import WORD_BYTES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import datetime

    from emm_pipeline.fleet import Register
    from emm_pipeline.readings import GivenRange


@dataclass(frozen=True, slots=True)
class EarlierRequests:
    """The results of earlier requests to a unit.

    `retried` are registers that it did not send when they were requested last, and that are requested again now;
    `given` are those that it has ever sent.
    """

    retried: tuple[UnsupportedRange, ...] = ()
    given: tuple[GivenRange, ...] = ()

    def judge(self, request: Request, code: int, at: datetime, registers: Sequence[Register]) -> UnsupportedRange:
        """Return registers that the unit has not sent at `at`, with whether it may send them soon."""
        found = UnsupportedRange(request.function_code, request.address, request.count, code, at)
        function_code, start, end = found.key
        before = next((each for each in self.retried if each.key == found.key), None)
        was_given = any(fc == function_code and first <= start and end <= behind for fc, first, behind in self.given)
        return replace(
            found,
            times_refused=before.times_refused + 1 if before else 1,
            is_temporary=is_value(found, registers) and (was_given or code == NO_REPLY),
        )

    @property
    def silent(self) -> tuple[UnsupportedRange, ...]:
        """The registers of `retried` that had no reply. They are requested last, and each separately."""
        return tuple(each for each in self.retried if each.exception_code == NO_REPLY)


NOTHING_EARLIER = EarlierRequests()
"""The earlier requests of a unit to which nothing was sent before."""


def is_silent_value(range_: UnsupportedRange, registers: Sequence[Register]) -> bool:
    """Whether a request for a single value had no reply, which may be chance. A gap has no value to lose."""
    return range_.exception_code == NO_REPLY and is_value(range_, registers)


def is_value(range_: UnsupportedRange, registers: Sequence[Register]) -> bool:
    """Whether these are the registers of one value, not a gap, and not too many for one request."""
    return len(_values_in(request_of(range_), registers)) == 1


def known_too_long(known: Collection[UnsupportedRange], registers: Sequence[Register]) -> frozenset[Request]:
    """Return the requests for several values to which the unit is known not to reply."""
    if not known:
        return frozenset()
    silent = (request_of(each) for each in known if each.exception_code == NO_REPLY)
    return frozenset(request for request in silent if len(_values_in(request, registers)) > 1)


def known_unsupported(known: Iterable[UnsupportedRange], registers: Sequence[Register]) -> frozenset[Request]:
    """Return the values and gaps that no request may cover completely."""
    known = tuple(known)
    return avoided_requests(known) - known_too_long(known, registers) if known else frozenset()


def request_of(range_: UnsupportedRange, register_bytes: int = WORD_BYTES) -> Request:
    """Return the request for exactly these registers, with this number of bytes each."""
    size = WORD_BYTES if range_.function_code.reads_bits else register_bytes
    return Request(range_.function_code, range_.address, range_.count, size)


def _values_in(request: Request, registers: Sequence[Register]) -> list[tuple[int, int]]:
    return outermost([(r.register_address, r.end) for r in registers if request.covers(r)])
