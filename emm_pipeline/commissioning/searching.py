"""Find a known value among registers that are not configured yet: in the requested ones, or next to them."""

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
"""Number of registers tried before and after: manuals count from 1, or count values of two registers."""

MUCH_NEARER = 0.25
"""Part of the distance from the value."""

_ILLEGAL_ADDRESS = 2


@dataclass(frozen=True, slots=True)
class Wanted:
    """A value as a display shows it, and the allowed deviation in percent."""

    shown: str
    percent: float

    def fits(self, reply: Reply) -> tuple[Fit, ...]:
        """Return the interpretations that give the value, the most likely one first."""
        return tuple(find_fits(reply.words, float(self.shown), tolerance(self.shown, self.percent)))


@dataclass(frozen=True, slots=True)
class SearchedRegisters:
    """A request, its reply, and the interpretations that give the wanted value."""

    request: Request
    reply: Reply
    fits: tuple[Fit, ...] = ()


async def search(read: ReadUnit, request: Request, wanted: Wanted | None) -> SearchedRegisters:
    """Read registers and search them for the wanted value."""
    reply = await read(request)
    return SearchedRegisters(request, reply, wanted.fits(reply) if wanted else ())


async def search_beside(read: ReadUnit, searched: SearchedRegisters, wanted: Wanted) -> SearchedRegisters | None:
    """Read the registers around the searched ones, if these do not contain the value or only an approximate one.

    A float that is read one register off, with its words swapped, is nearly right, because its first half is that of
    the value. Therefore a match that is much closer is reported too. It must be plausible, because some of the many
    interpretations match by chance.
    """
    limit = min((fit.error for fit in searched.fits), default=math.inf) * MUCH_NEARER
    if not searched.reply.words and searched.reply.exception_code != _ILLEGAL_ADDRESS:
        return None
    for request in _around(searched.request):
        found = await search(read, request, wanted)
        fits = tuple(fit for fit in found.fits if fit.interpretation.plausible and fit.error < limit)
        if fits:
            return SearchedRegisters(request, found.reply, fits)
        if found.reply.words and request.count > searched.request.count:  # the request covered both sides
            return None
    return None


def _around(request: Request) -> Iterator[Request]:
    """Yield one request for all registers, then, for devices that do not send so many, requests for each side."""
    for before, behind in ((BESIDE, BESIDE), (1, -1), (-1, 1)):
        start, end = max(0, request.address - before), min(REGISTER_SPACE, request.end + behind)
        if 0 < end - start <= MAX_REGISTERS_PER_REQUEST:
            yield request.part(start, end)
