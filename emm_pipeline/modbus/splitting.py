"""Which smaller requests replace one that brought an exception reply, and what their replies say of its cause. Pure.

A device answers a request over many registers with an exception where it does not support one of them. Such a request
is split: first at the gaps that it bridges, then into halves, until each value is requested by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emm_pipeline.modbus.exception_codes import DEVICE_FAILURE
from emm_pipeline.modbus.planning import AddressRange, outermost, span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from emm_pipeline.fleet import Register
    from emm_pipeline.readings import Request


@dataclass(slots=True, eq=False)
class TrackedRequest:
    """A request, and what came of it: registers, or an exception code and the requests that replace it."""

    request: Request
    was_read: bool = False
    exception_code: int | None = None
    """Set where it brought an exception reply, and was split."""
    is_one_value: bool = False
    """Set where it was split: whether it covers a single value only."""
    parts: list[TrackedRequest] = field(default_factory=list)

    def split(self, exception_code: int, registers: Sequence[Register]) -> None:
        """Splits it for an exception reply: `parts` together cover all that may be readable still.

        Of a single value that is what other registers take from inside of it; mostly nothing.
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
        """What is of use together only: a value with its companions, where the request covers all of them."""
        if all(self.request.covers(companion) for companion in register.companions):
            return span(register)
        return register.register_address, register.end

    def share_parts(self, tracked: Sequence[TrackedRequest]) -> list[TrackedRequest]:
        """Replaces parts by those of `tracked`, and of their parts, that are the same; returns the others, to be sent.

        Values that overlap have parts in common.
        """
        known = {each.request: each for one in tracked for each in one.family if each not in self.parts}
        new = [part for part in self.parts if part.request not in known]
        self.parts = [known.get(part.request, part) for part in self.parts]
        return new

    @property
    def family(self) -> Iterator[TrackedRequest]:
        """The request, its parts, theirs, and so on."""
        yield self
        for part in self.parts:
            yield from part.family

    @property
    def leaves(self) -> Iterator[TrackedRequest]:
        """The requests that were not split."""
        if not self.parts:
            yield self
        for part in self.parts:
            yield from part.leaves


def _runs(values: Sequence[AddressRange]) -> list[list[AddressRange]]:
    """Groups the values between which there is no gap."""
    runs: list[list[AddressRange]] = []
    for value in values:
        if runs and value[0] <= runs[-1][-1][1]:
            runs[-1].append(value)
        else:
            runs.append([value])
    return runs


@dataclass(slots=True)
class UnsupportedRegisters:
    """Why requests brought exception replies: for some of their registers, or for how many they were."""

    ranges: list[tuple[Request, int]] = field(default_factory=list)
    """Values and gaps, each with its exception code; not a value that the device failed to read: it may come back."""
    most_registers: int | None = None
    """Set where values without a gap between them could be read apart only: the largest count that could."""


def explain(requests: Iterable[TrackedRequest]) -> UnsupportedRegisters:
    """Returns why requests were split, as far as their parts could be read."""
    found = UnsupportedRegisters()
    for each in requests:
        _explain(each, found)
    found.ranges = list(dict.fromkeys(found.ranges))
    return found


def _explain(tracked: TrackedRequest, found: UnsupportedRegisters) -> None:
    if tracked.exception_code is None:
        return
    for part in tracked.parts:
        _explain(part, found)
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
