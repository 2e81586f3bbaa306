"""What to ask in the place of a request that was refused, and what the answers tell of why it was. Pure.

A device answers a request over many registers with an exception for the sake of one of them. Such a request is asked
again in pieces: first without the gaps that it bridges, then in halves, until each value is asked for by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emm_pipeline.modbus.exception_codes import DEVICE_FAILURE
from emm_pipeline.modbus.planning import AddressRange, outermost
from emm_pipeline.readings import Request

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from emm_pipeline.fleet import Register


@dataclass(slots=True, eq=False)
class TrackedRequest:
    """A request, and what came of it: its answer, or an exception code and the questions in its place."""

    request: Request
    answered: bool = False
    exception_code: int | None = None
    """Set where the registers were refused."""
    is_one_value: bool = False
    """Set where they were: whether nothing but a single value was asked for."""
    parts: list[TrackedRequest] = field(default_factory=list)

    def refuse(self, exception_code: int, registers: Sequence[Register]) -> None:
        """The request was refused: `parts` together ask for all that may be readable still.

        Of a single value that is what other registers take from inside of it; mostly nothing.
        """
        self.exception_code = exception_code
        covered = [r for r in registers if self.request.covers(r)]
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
        function_code = self.request.function_code
        self.parts = [TrackedRequest(Request(function_code, g[0][0], g[-1][1] - g[0][0])) for g in groups]

    def share_parts(self, questions: Sequence[TrackedRequest]) -> list[TrackedRequest]:
        """Takes parts that are among the questions, or their parts, from there; returns the others, yet to be asked.

        Values that overlap have parts in common.
        """
        asked = {each.request: each for question in questions for each in question.family if each not in self.parts}
        new = [part for part in self.parts if part.request not in asked]
        self.parts = [asked.get(part.request, part) for part in self.parts]
        return new

    @property
    def family(self) -> Iterator[TrackedRequest]:
        """The question, its parts, theirs, and so on."""
        yield self
        for part in self.parts:
            yield from part.family

    @property
    def leaves(self) -> Iterator[TrackedRequest]:
        """The questions that were not split."""
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
    """Why requests were refused: for some of their registers, or for how many registers they asked."""

    ranges: list[tuple[Request, int]] = field(default_factory=list)
    """Values and gaps, each with its exception code; not a value that the device failed to give: it may come back."""
    most_registers: int | None = None
    """Set where values without a gap between them were given apart only: the count of the largest such answer."""


def explain(questions: Iterable[TrackedRequest]) -> UnsupportedRegisters:
    """Returns why questions were refused, as far as their parts were answered."""
    found = UnsupportedRegisters()
    for each in questions:
        _explain(each, found)
    found.ranges = list(dict.fromkeys(found.ranges))
    return found


def _explain(asked: TrackedRequest, found: UnsupportedRegisters) -> None:
    if asked.exception_code is None:
        return
    for part in asked.parts:
        _explain(part, found)
    if asked.is_one_value:
        if asked.exception_code != DEVICE_FAILURE:
            found.ranges.append((asked.request, asked.exception_code))
    elif all(part.answered for part in asked.parts):
        gaps = [
            Request(asked.request.function_code, before.request.end, after.request.address - before.request.end)
            for before, after in zip(asked.parts, asked.parts[1:], strict=False)
            if after.request.address > before.request.end
        ]
        found.ranges += [(gap, asked.exception_code) for gap in gaps]
        if not gaps:
            most = max(part.request.count for part in asked.parts)
            found.most_registers = min(most, found.most_registers or most)
