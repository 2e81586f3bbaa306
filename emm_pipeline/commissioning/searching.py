"""Where a known value is among registers that are not configured yet: in those that were read, or beside them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emm_pipeline.commissioning.fitting import Fit, find_fits, tolerance
from emm_pipeline.fleet import MAX_REGISTERS_PER_REQUEST, REGISTER_SPACE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from emm_pipeline.commissioning.identification import ReadUnit
    from emm_pipeline.modbus.session import Reply
    from emm_pipeline.readings import Request

BESIDE = 2
"""So many registers before and behind: manuals count from 1, or in values of two registers."""

MUCH_NEARER = 0.25
"""Part of the distance from the value."""

_ILLEGAL_ADDRESS = 2


@dataclass(frozen=True, slots=True)
class Wanted:
    """A value as a display shows it, and by how many percent the registers may differ."""

    shown: str
    percent: float

    def fits(self, reply: Reply) -> tuple[Fit, ...]:
        """What gives the value, the likeliest first."""
        return tuple(find_fits(reply.words, float(self.shown), tolerance(self.shown, self.percent)))


@dataclass(frozen=True, slots=True)
class SearchedRegisters:
    """A request, its reply, and which interpretations of that give the wanted value."""

    request: Request
    reply: Reply
    fits: tuple[Fit, ...] = ()


async def search(read: ReadUnit, request: Request, wanted: Wanted | None) -> SearchedRegisters:
    """Reads registers and looks for the wanted value in them."""
    reply = await read(request)
    return SearchedRegisters(request, reply, wanted.fits(reply) if wanted else ())


async def search_beside(read: ReadUnit, searched: SearchedRegisters, wanted: Wanted) -> SearchedRegisters | None:
    """Reads the registers around those in which the value is not, or is not quite.

    A float that begins one register off, with its words swapped, is nearly right: its first half is that of the value.
    So what comes much nearer counts too. Only what is plausible does: of so many interpretations some fit by chance.
    """
    limit = min((fit.error for fit in searched.fits), default=math.inf) * MUCH_NEARER
    if not searched.reply.words and searched.reply.exception_code != _ILLEGAL_ADDRESS:
        return None
    for request in _around(searched.request):
        found = await search(read, request, wanted)
        fits = tuple(fit for fit in found.fits if fit.interpretation.plausible and fit.error < limit)
        if fits:
            return SearchedRegisters(request, found.reply, fits)
        if found.reply.words and request.count > searched.request.count:  # that was all of them
            return None
    return None


def _around(request: Request) -> Iterator[Request]:
    """All of them at once; for a device that does not send so many, the next registers on either side."""
    for before, behind in ((BESIDE, BESIDE), (1, -1), (-1, 1)):
        start, end = max(0, request.address - before), min(REGISTER_SPACE, request.end + behind)
        if 0 < end - start <= MAX_REGISTERS_PER_REQUEST:
            yield request.part(start, end)
