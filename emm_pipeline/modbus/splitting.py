"""Replace a request that failed with an exception by smaller ones, and derive the cause from their replies (pure).

A device answers a request for many registers with an exception if it does not support one of them. Such a request is
split: first at the gaps that it includes, then into halves, until each value is requested singly.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emm_pipeline.modbus.exception_codes import DEVICE_FAILURE, NO_REPLY
from emm_pipeline.modbus.planning import AddressRange, outermost, span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from emm_pipeline.fleet import Register
    from emm_pipeline.readings import Request


@dataclass(slots=True, eq=False)
class TrackedRequest:
    """A request and its result: registers, or an exception code and the requests that replace it."""

    request: Request
    was_read: bool = False
    exception_code: int | None = None
    """Set where it brought an exception reply, or none at all (NO_REPLY), and was split."""
    is_one_value: bool = False
    """Set where it was split: whether it covers a single value only."""
    is_confirmed: bool = True
    """False where it brought no reply, and none came to a later request: the unit may have died."""
    parts: Sequence[TrackedRequest] = ()

    def split(self, exception_code: int, registers: Sequence[Register]) -> None:
        """Split it for an exception reply, or for silence: `parts` together cover all that may be readable still.

        For a single value these are registers inside it that belong to other values too; usually there are none.
        """
        self.exception_code = exception_code
        covered = [r for r in registers if self.request.covers(r)]
        values = outermost([self._together(register) for register in covered])
        if len(values) == 1:
            values = outermost([(r.register_address, r.end) for r in covered])
        self.is_one_value = len(values) == 1
        if self.is_one_value:
            inside = [r for r in covered if r.count < self.request.count]
            groups = [[value] for value in outermost([(r.register_address, r.end) for r in inside])]
        else:
            groups = _runs(values)
            if len(groups) == 1:
                middle = len(values) // 2
                groups = [values[:middle], values[middle:]]
        self.parts = [TrackedRequest(self.request.part(g[0][0], g[-1][1])) for g in groups]

    def _together(self, register: Register) -> AddressRange:
        """Return the range of a value, and of its companions if the request covers all of them."""
        if all(self.request.covers(companion) for companion in register.companions):
            return span(register)
        return register.register_address, register.end

    def split_beforehand(self, registers: Sequence[Register]) -> bool:
        """Split it, unless it covers a single value, without having been sent; return whether that was done."""
        self.split(NO_REPLY, registers)
        self.exception_code = None
        if self.is_one_value:
            self.is_one_value, self.parts = False, ()
        return bool(self.parts)

    def share_parts(self, tracked: Sequence[TrackedRequest]) -> list[TrackedRequest]:
        """Replace parts that equal requests in `tracked`, or their parts, by these; return the others, to be sent.

        Overlapping values have common parts.
        """
        known = {each.request: each for one in tracked for each in one.family if each not in self.parts}
        new = [part for part in self.parts if part.request not in known]
        self.parts = [known.get(part.request, part) for part in self.parts]
        return new

    @property
    def family(self) -> Iterator[TrackedRequest]:
        """Yield the request, its parts, their parts, and so on."""
        yield self
        for part in self.parts:
            yield from part.family

    @property
    def leaves(self) -> Iterator[TrackedRequest]:
        """Yield the requests that were not split."""
        if not self.parts:
            yield self
        for part in self.parts:
            yield from part.leaves


def first_value(request: Request, registers: Sequence[Register]) -> Request:
    """Return the request for the first value that a request covers."""
    address, end = outermost([(r.register_address, r.end) for r in registers if request.covers(r)])[0]
    return request.part(address, end)


def _runs(values: Sequence[AddressRange]) -> list[list[AddressRange]]:
    """Group the values between which there is no gap."""
    runs: list[list[AddressRange]] = []
    for value in values:
        if runs and value[0] <= runs[-1][-1][1]:
            runs[-1].append(value)
        else:
            runs.append([value])
    return runs


@dataclass(slots=True)
class UnsupportedRegisters:
    """The cause of exception replies: some of the registers, or their number."""

    ranges: list[tuple[Request, int]] = field(default_factory=list)
    """Values and gaps, each with its exception code; not a value that the device failed to read: it may come back.

    With NO_REPLY also requests for more registers than the unit sends at once: they are not to be sent again.
    """
    most_registers: int | None = None
    """Set if adjacent values could only be read separately: the largest count that could be read."""


NOTHING_FOUND = UnsupportedRegisters()
"""The cause where no request was split."""


def explain(requests: Iterable[TrackedRequest]) -> UnsupportedRegisters:
    """Return the cause of the exceptions, as far as the parts of the requests show it."""
    split = [each for each in requests if each.parts or each.exception_code is not None]
    if not split:
        return NOTHING_FOUND
    found = UnsupportedRegisters()
    for each in split:
        _explain(each, found)
    found.ranges = list(dict.fromkeys(found.ranges))
    return found


def _explain(tracked: TrackedRequest, found: UnsupportedRegisters) -> None:
    for part in tracked.parts:
        _explain(part, found)
    if tracked.exception_code is None or not tracked.is_confirmed:
        return
    if tracked.is_one_value:
        if tracked.exception_code != DEVICE_FAILURE:
            found.ranges.append((tracked.request, tracked.exception_code))
    elif all(part.was_read for part in tracked.parts):
        gaps = [
            tracked.request.part(before.request.end, after.request.address)
            for before, after in zip(tracked.parts, tracked.parts[1:], strict=False)
            if after.request.address > before.request.end
        ]
        found.ranges += [(gap, tracked.exception_code) for gap in gaps]
        if not gaps:
            most = max(part.request.count for part in tracked.parts)
            found.most_registers = min(most, found.most_registers or most)
            if tracked.exception_code == NO_REPLY:
                found.ranges.append((tracked.request, NO_REPLY))
