"""Rank the types that a unit may be, by the contents of its registers (pure).

Every type is tried in all four orders. A type is a candidate if its identifications match, and all its registers
together speak for it. An exact code proves a type; ranges (such as those of a voltage and a frequency) only make it
likely, and so do the values of its other registers.
"""

from __future__ import annotations

import math
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING

from emm_pipeline.catalog.variants import Swap, swapped
from emm_pipeline.commissioning.candidates import Candidate, candidate_of, plausible, with_alike_first
from emm_pipeline.commissioning.judging import ZERO_BITS, TypeJudge
from emm_pipeline.fleet import WORD_BYTES
from emm_pipeline.modbus.sunspec.models import ModelSearch, has_models, locate
from emm_pipeline.modbus.values import decode_raw

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from emm_pipeline.catalog import CatalogueType
    from emm_pipeline.commissioning.judging import Words
    from emm_pipeline.fleet import Register


PRIOR_BITS = {Swap.NOTHING: 0.0, Swap.WORDS: -3.0, Swap.BYTES: -6.0, Swap.BOTH: -6.0}
"""Few devices send another order than their manual says, and fewer another order of bytes."""

SWAPPED_MODELS_BITS = -5.0
"""SunSpec prescribes the order, so it is nearly always right."""

BLOCK_BITS, MOST_BLOCKS = 5.0, 2
"""Highest evidence from a block of registers that exists, where the unit refuses others; most blocks that count."""

MOST_REFUSED = 0.5
"""Highest share of the probes that a unit sends if it refuses registers that it lacks."""

WITHIN_BITS = 12.0
"""A type with so much less evidence than the best one is no candidate, unless it gives the same values."""


class Ranking:
    """The types that are compared, in all orders; computed once for all units of a scan."""

    def __init__(self, types: Iterable[CatalogueType]) -> None:
        usual = [each for each in types if each.meter_type.register_bytes == WORD_BYTES]
        self.types = [Compared(each) for each in usual if not has_models(each.meter_type)]
        self.of_models = [each for each in usual if has_models(each.meter_type)]
        users = Counter(each.places[0] for each in self.types)
        self.probes = set(users)
        """The place that is read first of each type, without those of SunSpec models."""
        self.in_order_of_probes = sorted(self.types, key=lambda each: (-users[each.places[0]], each.places))
        """The types whose first register is that of many come first: some units are silent for registers they lack."""

    def candidates(self, words: Words) -> list[Candidate]:
        """Return the possible types of a unit with these registers, the most likely one first."""
        share = (sum(words.get(place) is not None for place in self.probes) + 1) / (len(self.probes) + 1)
        block_bits = min(BLOCK_BITS, -math.log2(share))
        # A unit that refuses most of the others has the registers that it sends, also where they are 0.
        zero_bits = ZERO_BITS if share > MOST_REFUSED else 0.0
        found = [each for compared in self.types for each in compared.candidates(words, block_bits, zero_bits)]
        models = models_in(words)
        found += [each for entry in self.of_models if models.found for each in _of_models(entry, words, models)]
        if any(each.proven for each in found):
            found = [each for each in found if each.proven]
        found.sort(key=lambda each: (-each.confidence, -round(each.bits, 6), -each.registers))
        best = max((each.bits for each in found), default=0.0)
        found = [each for each in found if each.bits >= best - WITHIN_BITS or not each.differences(found[0])]
        return with_alike_first(found)


class Compared:
    """A type, and its variants in other orders, which are computed when a unit may be of the type."""

    def __init__(self, entry: CatalogueType) -> None:
        self.entry = entry
        self._conditions = entry.identifications
        identifying = [each.register for each in entry.identifications] or list(entry.meter_type.measured[:1])
        self.registers = identifying
        self.places = [(int(each.function_code), each.register_address) for each in identifying]
        self._judges: dict[Swap, tuple[CatalogueType, TypeJudge]] = {}

    def candidates(self, words: Words, block_bits: float, zero_bits: float) -> Iterator[Candidate]:
        """Yield the type in each order in which it may be the unit's, but one of several orders with equal values."""
        contents = [content_of(register, words) for register in self.registers]
        if any(content is None for content in contents):
            return
        is_coded = any(each.strong for each in self._conditions)
        judged = []
        for swap in Swap:
            if self._may_be(contents, swap):
                variant, judge = self._variant(swap)
                judgement = judge.judge(words, zero_bits)
                bits = PRIOR_BITS[swap] + block_bits * min(judgement.blocks, MOST_BLOCKS)
                judged.append(candidate_of(variant, swap, judgement, bits, is_coded=is_coded))
        yield from plausible(judged)

    def may_be(self, words: Words) -> bool:
        """Whether a unit with these registers may be of the type in any order."""
        contents = [content_of(register, words) for register in self.registers]
        return None not in contents and any(self._may_be(contents, swap) for swap in Swap)

    def _may_be(self, contents: Sequence[tuple[int, ...] | None], swap: Swap) -> bool:
        """Whether the identifications match.

        A range does not exclude 0: the phase may not be connected, or the battery empty. But one value must be in its
        range and not 0, because 0 tells nothing.
        """
        told = not self._conditions
        for each, content in zip(self._conditions, contents, strict=False):
            if content is None or not any(content):
                if each.strong:
                    return False
                continue
            register = each.register
            if not each.matches(_raw(content, register.data_type, *swap.of(register.word_order, register.byte_order))):
                return False
            told = True
        return told

    def _variant(self, swap: Swap) -> tuple[CatalogueType, TypeJudge]:
        if swap not in self._judges:
            variant = swapped(self.entry, swap)
            self._judges[swap] = variant, TypeJudge(variant.meter_type)
        return self._judges[swap]


_raw = lru_cache(maxsize=10_000)(decode_raw)


def content_of(register: Register, words: Words) -> tuple[int, ...] | None:
    """Return the words of a register; None if the unit does not send all of them."""
    code, address = int(register.function_code), register.register_address
    content = []
    for i in range(register.count):
        word = words.get((code, address + i))
        if word is None:
            return None
        content.append(word)
    return tuple(content)


def _of_models(entry: CatalogueType, words: Words, models: ModelSearch) -> Iterator[Candidate]:
    """Yield the type if its registers are in SunSpec models, and the unit has these: its list proves it.

    The list itself is in the usual order. Some devices have swapped words in their values.
    """
    judged = []
    for swap in (Swap.NOTHING, Swap.WORDS):
        variant = swapped(entry, swap)
        located = locate(variant.meter_type, models.found, models.ends)
        if located.measured:
            bits = PRIOR_BITS[swap] + (SWAPPED_MODELS_BITS if swap else 0.0)
            judged.append(candidate_of(variant, swap, TypeJudge(located).judge(words), bits, is_coded=True))
    yield from plausible(judged)


def models_in(words: Words) -> ModelSearch:
    """Return the SunSpec models of a unit with these registers."""
    search = ModelSearch()
    while search.request:
        search.take_from(words)
    return search
