"""Judge whether the registers of a unit are those of a type, by all values that they give (pure).

The evidence is counted in bits: so much more likely are the registers' contents if the unit is of the type than if it
is another device. Registers that the unit refuses, odd values and values that contradict each other count against it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from emm_pipeline.commissioning.misalignment import FloatEdges
from emm_pipeline.commissioning.relations import relations
from emm_pipeline.commissioning.usual_values import evidence, is_key
from emm_pipeline.fleet import MAX_REGISTERS_PER_REQUEST, WORD_BYTES
from emm_pipeline.modbus.layout import Layout
from emm_pipeline.modbus.planning import outermost, span
from emm_pipeline.readings import RegisterBlock, Request

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from emm_pipeline.fleet import FunctionCode, MeterType, Register

Words: TypeAlias = "Mapping[tuple[int, int], int]"
"""The registers that a unit sends: function code and address to the word."""

MISSING_BITS = 1.0
"""Evidence against a type for each of its registers that the unit refuses."""

ZERO_BITS = 0.2
"""The same for a zero of a unit that sends 0 for registers it lacks: a type that explains it with fewer is likelier."""

ODD_BITS = 6.0
"""The same for a value that no device measures, or that contradicts another one."""

KEY_COUNTS = 3
"""As so many odd values counts a voltage or a frequency that cannot be."""

FAR_APART = 50
"""Distance of registers that belong to different blocks of a device's memory."""


MISALIGNED = "the floats are read one register off: look for the same values one address further"
MISALIGNED_COUNTS = 5
"""As so many odd values counts a misalignment, because it concerns all values."""


@dataclass(slots=True)
class Judgement:
    """How well the registers of a unit fit to a type."""

    registers: int
    """Registers that a poll reads."""
    sent: int = 0
    """Those of them that the unit sends."""
    bits: float = 0.0
    """Evidence for the type; negative against it."""
    values: dict[str, float] = field(default_factory=dict)
    """The values that a poll would store, by measurement."""
    odd: list[str] = field(default_factory=list)
    """Values that cannot be right, a short line each."""
    edges: frozenset[tuple[int, int]] = frozenset()
    """Registers beside those of the type that show whether its floats are read one register off."""
    blocks: int = 0
    """Places in the unit's memory, far apart, that have registers of the type."""

    @property
    def telling(self) -> int:
        """Number of values other than zero."""
        return sum(value != 0 for value in self.values.values())


class TypeJudge:
    """Judges units by one type; it keeps what it computes from the type's registers."""

    def __init__(self, meter_type: MeterType) -> None:
        self._registers = tuple(register for register in meter_type.measured if register.model is None)
        self._type = replace(
            meter_type,
            registers=tuple(replace(register, stored=True) for register in self._registers),
            models=(),
            combined=(),
        )
        self._by_series = {(each.measurement_name, each.data_unit): each for each in self._registers}
        self._spans = [(register.function_code, *span(register)) for register in self._registers]
        self._edges = FloatEdges(self._registers)
        self._layouts: dict[tuple[Request, ...], Layout] = {}

    def judge(self, words: Words, zero_bits: float = ZERO_BITS) -> Judgement:
        """Compare all registers of the type with those of the unit; each zero counts `zero_bits` against it."""
        judged = Judgement(len(self._registers), edges=self._edges.beside)
        sent = [each for each in self._spans if _is_sent(words, *each)]
        judged.sent = len(sent)
        judged.blocks = _blocks(sent)
        judged.bits = -MISSING_BITS * (judged.registers - judged.sent)
        requests = tuple(_requests(sent))
        if not requests:
            return judged
        if requests not in self._layouts:
            self._layouts[requests] = Layout(self._type, requests)
        layout = self._layouts[requests]
        found = layout.decode([tuple(RegisterBlock(each, _data(words, each)) for each in requests)])
        numbers = zip(layout.series, found.matrix[0].tolist(), found.present[0].tolist(), strict=True)
        for series, value, present in numbers:
            if present:
                self._weigh(judged, self._by_series[series], value, zero_bits)
        if self._edges.are_misaligned(words):
            judged.bits -= ODD_BITS * MISALIGNED_COUNTS
            judged.odd += [MISALIGNED] * MISALIGNED_COUNTS
        related = relations(judged.values)
        judged.bits += related.bits - ODD_BITS * len(related.contradictions)
        judged.odd += related.contradictions
        return judged

    def _weigh(self, judged: Judgement, register: Register, value: float, zero_bits: float) -> None:
        judged.values[register.measurement_name] = value
        if value == 0:
            judged.bits -= zero_bits
            return
        bits = evidence(register, value)
        if bits is None:
            judged.bits -= ODD_BITS
            counts = KEY_COUNTS if is_key(register.measurement_name, register.data_unit) else 1
            judged.odd += [f"{register.measurement_name} {value:.4g} {register.data_unit or ''}".rstrip()] * counts
        else:
            judged.bits += bits


def _is_sent(words: Words, function_code: FunctionCode, start: int, end: int) -> bool:
    code = int(function_code)
    return end - start <= MAX_REGISTERS_PER_REQUEST and all(
        words.get((code, address)) is not None for address in range(start, end)
    )


def _requests(sent: Sequence[tuple[FunctionCode, int, int]]) -> Iterator[Request]:
    """Yield a request for each value and its companions, without those inside of others."""
    for function_code in sorted({code for code, _, _ in sent}):
        ranges = outermost([(start, end) for code, start, end in sent if code == function_code])
        for start, end in ranges:
            yield Request(function_code, start, end - start)


def _blocks(sent: Sequence[tuple[FunctionCode, int, int]]) -> int:
    blocks, last = 0, (0, 0)
    for function_code, start, end in sorted(sent):
        if (function_code, start) > (last[0], last[1] + FAR_APART):
            blocks += 1
        last = (function_code, end)
    return blocks


def _data(words: Words, request: Request) -> bytes:
    code = int(request.function_code)
    there = [words.get((code, address)) or 0 for address in range(request.address, request.end)]
    return struct.pack(f">{request.count * request.register_bytes // WORD_BYTES}H", *there)
