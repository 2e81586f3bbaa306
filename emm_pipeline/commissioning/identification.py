"""Identify a unit: find the types of the catalogue that match the content of some of its registers.

All of a type's identifications must match. An exact code proves the type; ranges (such as those of a voltage and a
frequency) only make it likely. Similar types, such as the models of one vendor, are distinguished by unsupported
registers: all registers of each type are read, and of the types that can be read completely, the one with the most
registers comes first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from emm_pipeline.modbus.planning import plan_requests
from emm_pipeline.modbus.sunspec.models import has_models
from emm_pipeline.modbus.values import decode_raw
from emm_pipeline.readings import FailureKind, Request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from emm_pipeline.catalog import CatalogueType
    from emm_pipeline.fleet import Register
    from emm_pipeline.modbus.session import Reply

MOST_TIMEOUTS = 2
"""A unit that has never replied gets no more requests after this number."""


class ReadUnit(Protocol):
    """Send one request to a unit."""

    def __call__(self, request: Request, /) -> Awaitable[Reply]:
        """Return the reply, or why there is none."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A possible type of a unit: `proven` by a code that only this type has, or likely because of plausible values."""

    type: str
    proven: bool


@dataclass(slots=True)
class _Unit:
    """A unit and its replies; each request is sent only once."""

    read: ReadUnit
    replies: dict[Request, Reply] = field(default_factory=dict)
    timeouts: int = 0

    async def words(self, request: Request) -> Sequence[int]:
        """Return the registers; empty if the unit does not send them or has stopped replying."""
        if request not in self.replies:
            if self.timeouts >= MOST_TIMEOUTS:
                return ()
            self.replies[request] = await self.read(request)
            self.timeouts += self.replies[request].kind is FailureKind.TIMEOUT
        return self.replies[request].words

    async def raw(self, register: Register) -> float | None:
        """Return the raw value of a register; None if there is none."""
        words = await self.words(Request(register.function_code, register.register_address, register.count))
        return decode_raw(words, register.data_type, register.word_order, register.byte_order) if words else None


async def identify(read: ReadUnit, types: Iterable[CatalogueType]) -> list[Candidate]:
    """Return the possible types of the unit, the most likely one first; or only the proven one."""
    unit = _Unit(read)
    known = [each for each in types if each.identifications]
    by_code = [each for each in known if any(one.strong for one in each.identifications)]
    for each in by_code:
        if await _holds(unit, each):
            return [Candidate(each.name, proven=True)]
    matching = [each for each in known if each not in by_code and await _holds(unit, each)]
    if len(matching) > 1:
        matching = await _likeliest_first(unit, matching)
    return [Candidate(each.name, proven=False) for each in matching]


async def _holds(unit: _Unit, candidate: CatalogueType) -> bool:
    for each in candidate.identifications:
        raw = await unit.raw(each.register)
        if raw is None or not each.matches(raw):
            return False
    return True


async def _likeliest_first(unit: _Unit, candidates: Sequence[CatalogueType]) -> list[CatalogueType]:
    missing = {each.name: await _unread(unit, each) for each in candidates}
    key: Callable[[CatalogueType], tuple[int, int]] = lambda each: (missing[each.name], -len(each.registers))  # noqa: E731
    return sorted(candidates, key=key)


async def _unread(unit: _Unit, candidate: CatalogueType) -> int:
    """Return the number of requests of a poll of this type that fail."""
    if has_models(candidate.meter_type):  # registers of models have no fixed addresses
        return 0
    return sum([not await unit.words(request) for request in plan_requests(candidate.meter_type)])
