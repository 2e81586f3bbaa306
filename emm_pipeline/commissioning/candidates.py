"""The types that a unit may be, how sure that is, and which of them contradict each other (pure)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from emm_pipeline.catalog import CatalogueType
    from emm_pipeline.catalog.variants import Swap
    from emm_pipeline.commissioning.judging import Judgement


class Confidence(IntEnum):
    """How sure it is that a unit is of a type."""

    NONE = -1
    """Values contradict the type, or most of its registers are missing."""
    WEAK = 0
    """Hardly any value tells something."""
    POSSIBLE = 1
    """Some values fit. Other devices may have them too."""
    LIKELY = 2
    """Nearly all registers are there, and have usual values that go together."""
    PROVEN = 3
    """The unit has a code that only this type has, and nothing contradicts it."""


LIKELY_BITS, POSSIBLE_BITS = 14.0, 4.0
LIKELY_SHARE, POSSIBLE_SHARE = 0.6, 0.3
"""Smallest shares of the type's registers that a unit sends."""
LEAST_VALUES = 3
MOST_ODD_LIKELY, MOST_ODD_POSSIBLE = 0.05, 0.2
"""Highest shares of odd values."""

RIVAL_BITS = 5.0
"""A type with so much less evidence than the best one is no rival of it."""


ADDED_SHARE = 0.5
"""Share of the registers that only one of two types has: a unit that sends fewer of them is of the other type."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A possible type of a unit: the type in the order that fits, and how well it does."""

    entry: CatalogueType
    swap: Swap
    confidence: Confidence
    bits: float = 0.0
    registers: int = 0
    sent: int = 0
    odd: tuple[str, ...] = ()
    values: Mapping[str, float] = field(default_factory=dict)
    edges: frozenset[tuple[int, int]] = frozenset()
    """Registers beside those of the type that can show that it is the wrong one."""
    is_alike: bool = False
    """Whether other types fit as well, and nothing that the unit sends tells them apart."""

    @property
    def type(self) -> str:
        """The name of the type, or of its variant with other orders."""
        return self.entry.name

    @property
    def proven(self) -> bool:
        """Whether a code proves the type."""
        return self.confidence is Confidence.PROVEN

    def differences(self, other: Candidate) -> list[str]:
        """Return the measurements to which both give different values, so that one of them must be wrong."""
        return [
            name
            for name, value in self.values.items()
            if name in other.values and not math.isclose(value, other.values[name], rel_tol=1e-6, abs_tol=1e-9)
        ]


def candidate_of(entry: CatalogueType, swap: Swap, judged: Judgement, bits: float, *, is_coded: bool) -> Candidate:
    """Return a type as candidate; `bits` is the evidence from elsewhere, `is_coded` whether a code identifies it."""
    bits += judged.bits
    odd, telling, share = len(judged.odd), judged.telling, judged.sent / max(1, judged.registers)
    confidence = Confidence.NONE
    if odd > MOST_ODD_POSSIBLE * telling or share < POSSIBLE_SHARE:
        pass
    elif odd <= MOST_ODD_LIKELY * telling and is_coded:
        confidence = Confidence.PROVEN
    elif odd <= MOST_ODD_LIKELY * telling and bits >= LIKELY_BITS and share >= LIKELY_SHARE and telling >= LEAST_VALUES:
        confidence = Confidence.LIKELY
    elif bits >= POSSIBLE_BITS:
        confidence = Confidence.POSSIBLE
    else:
        confidence = Confidence.WEAK
    return Candidate(
        *(entry, swap, confidence, bits, judged.registers, judged.sent, tuple(judged.odd)),
        values=judged.values,
        edges=judged.edges,
    )


def plausible(judged: Sequence[Candidate]) -> Iterator[Candidate]:
    """Yield the orders of a type that are candidates.

    If the type is one in some order, so it is in the others that nothing contradicts: they show that the order is not
    certain. Of several orders with equal values, only the first is yielded.
    """
    if max((each.confidence for each in judged), default=Confidence.NONE) < Confidence.POSSIBLE:
        return
    before: list[Candidate] = []
    for each in judged:
        if each.confidence > Confidence.NONE and all(each.values != other.values for other in before):
            before.append(replace(each, confidence=max(each.confidence, Confidence.POSSIBLE)))
    yield from before


def rivals(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates that contradict the first one and have nearly as much evidence: a person must decide.

    A type may have more evidence than the first one, and yet be less certain, because the unit lacks many registers.
    """
    return [
        each
        for each in candidates[1:]
        if each.bits > candidates[0].bits - RIVAL_BITS and each.differences(candidates[0])
    ]


def alike(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the other types that fit as well as the first candidate: nothing that the unit sends tells them apart."""
    return [each for each in candidates[1:] if each.is_alike]


def with_alike_first(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Mark the types that fit as well as the likeliest one, and put the one with the most registers first.

    With that one, no value of the device is missing in the readings, whichever of them it is. But a type of which the
    unit refuses registers comes after one of which it sends all.

    Args:
        candidates: the likeliest one first.
    """
    if not candidates:
        return []
    first, *others = candidates
    same = [each for each in others if _fits_as_well(each, first)]
    marked = [replace(each, confidence=first.confidence, bits=first.bits, is_alike=True) for each in (first, *same)]
    marked.sort(key=lambda each: (-each.sent / max(1, each.registers), -each.registers))
    different = [each for each in others if not any(each is one for one in same)]
    return [*marked, *different] if same else list(candidates)


def _fits_as_well(candidate: Candidate, likeliest: Candidate) -> bool:
    """Whether a type gives all values of the likeliest one, the same ones, and besides only zeros.

    The likeliest type has fewer registers, if the unit sends 0 for those that it lacks: without load, the registers
    that only the other type has may be such ones, or be 0.
    """
    added = candidate.values.keys() - likeliest.values.keys()
    return (
        candidate.swap == likeliest.swap
        and likeliest.values.keys() <= candidate.values.keys()
        and not candidate.differences(likeliest)
        and not any(candidate.values[name] for name in added)
        and candidate.sent - likeliest.sent >= ADDED_SHARE * (candidate.registers - likeliest.registers)
        and len(candidate.odd) <= len(likeliest.odd)
    )


def is_decided(candidates: Sequence[Candidate]) -> bool:
    """Whether the first candidate is so much likelier than those that contradict it that its values can be trusted."""
    return bool(candidates) and candidates[0].confidence >= Confidence.LIKELY and not rivals(candidates)


def is_certain(candidates: Sequence[Candidate]) -> bool:
    """Whether the first candidate is decided, and no other type fits as well: it can be added without a question."""
    return is_decided(candidates) and not alike(candidates)
