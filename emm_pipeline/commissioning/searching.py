"""Find a known value among registers that are not configured yet: in the requested ones, or next to them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from emm_pipeline.commissioning.composed import companion_fits, find_all_fits
from emm_pipeline.commissioning.fitting import Fit, tolerance
from emm_pipeline.commissioning.interpreting import LAYOUTS, Interpretation
from emm_pipeline.commissioning.rows import gives, row_of
from emm_pipeline.commissioning.texts import FoundText, find_text
from emm_pipeline.fleet import MAX_REGISTERS_PER_REQUEST, REGISTER_SPACE, DataType

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
    """A value as a display shows it, and the allowed deviation in percent; or a text.

    `factor` is the one that the meter will have: the display shows the registers' value times this. `companion` is the
    address of another register that the value may need.
    """

    shown: str
    percent: float = 1.0
    factor: float = 1.0
    companion: int | None = None
    is_text: bool = False

    def fits(self, request: Request, words: Sequence[int], companion: Sequence[int] = ()) -> tuple[Fit, ...]:
        """Return the interpretations that give the value, the most likely one first.

        Args:
            request: The request for the registers.
            words: Their content.
            companion: The content of the companion.
        """
        if request.function_code.reads_bits:
            return tuple(_bits(words)) if float(self.shown) == 1 else ()
        expected = float(self.shown) / self.factor
        within, exact = (tolerance(self.shown, percent) / abs(self.factor) for percent in (self.percent, 0.0))
        fits = find_all_fits(words, expected, within, exact, request.address_of)
        if companion and self.companion is not None:
            fits = [*companion_fits(words, expected, within, self.companion, companion[-1]), *fits]
        if self.factor != 1:
            further = {"uses_factor": True}
            fits = [replace(each, value=each.value * self.factor, columns=each.columns | further) for each in fits]
        return tuple(
            fit for fit in fits if gives(row_of(request, fit), fit.value, request, words, companion, self.factor)
        )


def _bits(bits: Sequence[int]) -> Iterator[Fit]:
    for offset, bit in enumerate(bits):
        if bit:
            yield Fit.of(Interpretation(offset, DataType.BOOL, LAYOUTS[0], bit), 1.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class SearchedRegisters:
    """A request, its reply, and what gives the wanted value or text; and the reply with the companion."""

    request: Request
    reply: Reply
    fits: tuple[Fit, ...] = ()
    companion: Reply | None = None
    texts: tuple[FoundText, ...] = ()

    @property
    def is_found(self) -> bool:
        """Whether something gives the wanted value or text."""
        return bool(self.fits or self.texts)


async def search(read: ReadUnit, request: Request, wanted: Wanted | None) -> SearchedRegisters:
    """Read registers, and the companion if there is one, and search them for the wanted value."""
    reply = await read(request)
    if not wanted or not reply.words:
        return SearchedRegisters(request, reply)
    if wanted.is_text:
        return SearchedRegisters(request, reply, texts=tuple(find_text(request, reply.words, wanted.shown)))
    if wanted.companion is None:
        return SearchedRegisters(request, reply, wanted.fits(request, reply.words))
    companion = await read(request.part(wanted.companion, wanted.companion + 1))
    return SearchedRegisters(request, reply, wanted.fits(request, reply.words, companion.words), companion)


async def search_beside(read: ReadUnit, searched: SearchedRegisters, wanted: Wanted) -> SearchedRegisters | None:
    """Read the registers around the searched ones, if these do not contain the value or only an approximate one.

    A float that is read one register off, with its words swapped, is nearly right, because its first half is that of
    the value. Therefore a match that is much closer is reported too. It must be plausible, because some of the many
    interpretations match by chance.
    """
    limit = min((fit.error for fit in searched.fits), default=math.inf) * MUCH_NEARER
    if searched.texts:
        return None
    if not searched.reply.words and searched.reply.exception_code != _ILLEGAL_ADDRESS:
        return None
    for request in _around(searched.request):
        found = await search(read, request, wanted)
        fits = tuple(fit for fit in found.fits if fit.interpretation.plausible and fit.error < limit)
        if fits or found.texts:
            return replace(found, fits=fits)
        if found.reply.words and request.count > searched.request.count:  # the request covered both sides
            return None
    return None


def _around(request: Request) -> Iterator[Request]:
    """Yield one request for all registers, then, for devices that do not send so many, requests for each side."""
    for before, behind in ((BESIDE, BESIDE), (1, -1), (-1, 1)):
        start, end = max(0, request.address - before), min(REGISTER_SPACE, request.end + behind)
        if 0 < end - start <= MAX_REGISTERS_PER_REQUEST:
            yield request.part(start, end)
