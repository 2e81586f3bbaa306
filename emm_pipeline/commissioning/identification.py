"""Identify a unit: read the registers by which the types of the catalogue can be told apart, and rank the types.

First the registers that identify each type are read, one value at a time. Then all registers of the types that the unit
may be are read, as a poll would read them. A refused request is split, down to single values, so that types are
compared by registers and not by requests. No register is read twice.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from emm_pipeline.fleet import FunctionCode
from emm_pipeline.modbus.exception_codes import ILLEGAL_FUNCTION, NO_REPLY
from emm_pipeline.modbus.planning import plan_requests
from emm_pipeline.modbus.splitting import TrackedRequest
from emm_pipeline.modbus.sunspec.models import ModelSearch, locate
from emm_pipeline.readings import FailureKind, Request

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from emm_pipeline.commissioning.candidates import Candidate
    from emm_pipeline.commissioning.ranking import Ranking
    from emm_pipeline.fleet import MeterType, Register
    from emm_pipeline.modbus.session import Reply

MOST_TIMEOUTS = 2
"""A unit gets no more requests after this number of requests without a reply, one after the other."""

MOST_TIMEOUTS_IN_ALL = 6

MOST_CHECKS = 3
"""How often the likeliest type is checked with further registers."""

MOST_TYPES = 25
"""Number of types whose registers are all read."""


class ReadUnit(Protocol):
    """Send one request to a unit."""

    def __call__(self, request: Request, /) -> Awaitable[Reply]:
        """Return the reply, or why there is none."""


@dataclass(slots=True)
class UnitRegisters:
    """The registers of a unit that were read so far."""

    read: ReadUnit
    words: dict[tuple[int, int], int] = field(default_factory=dict)
    refused: set[Request] = field(default_factory=set)
    """Requests that the unit refused, or did not reply to."""
    unknown_functions: set[int] = field(default_factory=set)
    silent: int = 0
    """Number of the last requests that got no reply."""
    timeouts: int = 0
    """Number of all requests that got none."""

    async def ask(self, request: Request) -> bool:
        """Read registers, unless they are known; return whether the unit sends them."""
        code = int(request.function_code)
        places = [(code, address) for address in range(request.address, request.end)]
        if all(place in self.words for place in places):
            return True
        if request in self.refused or code in self.unknown_functions or self.is_silent:
            return False
        reply = await self.read(request)
        is_silence = reply.kind is FailureKind.TIMEOUT
        self.silent = self.silent + 1 if is_silence else 0
        self.timeouts += is_silence
        if not reply.words:
            self.refused.add(request)
            if reply.exception_code == ILLEGAL_FUNCTION:
                self.unknown_functions.add(code)
            return False
        self.words.update(zip(places, reply.words, strict=True))
        return True

    @property
    def is_silent(self) -> bool:
        """Whether so many requests got no reply that the unit gets no more."""
        return self.silent >= MOST_TIMEOUTS or self.timeouts >= MOST_TIMEOUTS_IN_ALL

    async def ask_value(self, register: Register) -> bool:
        """Read the registers of one value."""
        return await self.ask(Request(register.function_code, register.register_address, register.count))

    async def ask_all(self, meter_type: MeterType) -> None:
        """Read all registers of a type that the unit sends."""
        waiting = deque(map(TrackedRequest, plan_requests(meter_type)))
        while waiting and not self.is_silent:
            tracked = waiting.popleft()
            if not await self.ask(tracked.request):
                tracked.split(NO_REPLY, meter_type.asked)
                waiting.extend(tracked.parts)

    async def find_models(self) -> ModelSearch:
        """Read the list of the unit's SunSpec models; it is empty for other devices."""
        search = ModelSearch()
        while search.request:
            await self.ask(search.request)
            search.take_from(self.words)
        return search


async def identify(read: ReadUnit, ranking: Ranking) -> list[Candidate]:
    """Return the possible types of the unit, the most likely one first.

    Args:
        read: Sends a request to the unit.
        ranking: The types that are compared.
    """
    unit = UnitRegisters(read)
    for compared in ranking.in_order_of_probes:
        for register in compared.registers:
            if not await unit.ask_value(register):
                break
    models = await unit.find_models() if ranking.of_models else ModelSearch()
    for compared in [each for each in ranking.types if each.may_be(unit.words)][:MOST_TYPES]:
        await unit.ask_all(compared.entry.meter_type)
    for entry in ranking.of_models if models.found else ():
        located = locate(entry.meter_type, models.found, models.ends)
        if located.measured:
            await unit.ask_all(located)
    candidates = ranking.candidates(unit.words)
    for _ in range(MOST_CHECKS):
        unknown = sorted(candidates[0].edges - unit.words.keys()) if candidates else []
        answers = [await unit.ask(Request(FunctionCode(code), address, 1)) for code, address in unknown]
        if not any(answers):
            break
        candidates = ranking.candidates(unit.words)
    return candidates
