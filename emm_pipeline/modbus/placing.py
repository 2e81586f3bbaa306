"""Find the words of a type's registers among the words of replies. Pure.

Similar meters were read with the same requests. The words of a meter's replies, one reply after the other, are columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from emm_pipeline.fleet import WORD_BYTES, Register
from emm_pipeline.modbus.raw_values import RawValues
from emm_pipeline.modbus.words import word_columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from emm_pipeline.readings import Request


NOT_READ = "was not read"


@dataclass(frozen=True, slots=True)
class Copies:
    """Several replies with a companion: the value counts only if it was read between them, and all agree."""

    what: str
    raws: tuple[RawValues, ...]
    blocks: tuple[int, ...]
    """The indices of the blocks that contain the companion."""


@dataclass(frozen=True, slots=True)
class PlacedRegister:
    """A register whose words are all in the replies: where to find its raw values, and its companions."""

    register: Register
    raw: RawValues
    block: int
    scale: RawValues | None = None
    sign: RawValues | None = None
    copies: tuple[Copies, ...] = ()


@dataclass(frozen=True, slots=True)
class Unplaced:
    """Why a register's value cannot be determined from the replies."""

    register: Register
    reason: str


def place(registers: Sequence[Register], requests: Sequence[Request]) -> Iterator[PlacedRegister | Unplaced]:
    """Yield the place of each register, or why it has none, in the order of the registers.

    A value and its companions are taken from one reply. If they are in different replies, the companion must be in two
    of them, one before and one after it, because the device may change it at any time.
    """
    places = _Places(requests)
    for register in registers:
        blocks = places.blocks(register)
        if not blocks:
            yield Unplaced(register, NOT_READ)
        elif not register.companions:
            yield PlacedRegister(register, RawValues(register, places.columns(register, blocks[0])), blocks[0])
        else:
            yield _with_companions(register, blocks, places)


def _with_companions(register: Register, blocks: Sequence[int], places: _Places) -> PlacedRegister | Unplaced:
    companions = register.companions
    where = [places.blocks(companion) for companion in companions]
    for companion, its_blocks in zip(companions, where, strict=True):
        if not its_blocks:
            return Unplaced(register, f"its {_what(companion, register)} was not read")
    # If several replies contain the value, use the one that has most of its companions.
    block = max(blocks, key=lambda each: sum(each in its_blocks for its_blocks in where))
    columns = places.columns(register, block)
    copies = []
    further: dict[str, RawValues] = {}
    for companion, its_blocks in zip(companions, where, strict=True):
        what = _what(companion, register)
        own = block in its_blocks
        if not own and len(its_blocks) < 2:  # noqa: PLR2004 - before and after
            return Unplaced(register, f"its {what} was read at another moment")
        first = block if own else its_blocks[0]
        first_columns = places.columns(companion, first)
        if not own:
            raws = tuple(RawValues(companion, places.columns(companion, each)) for each in its_blocks)
            copies.append(Copies(what, raws, tuple(its_blocks)))
        if companion.register_address == register.high_register_address and what == "upper half":
            columns = first_columns + columns
        else:
            further[what] = RawValues(companion, first_columns)
    raw = RawValues(register, columns)
    return PlacedRegister(register, raw, block, further.get("scale factor"), further.get("sign"), tuple(copies))


def _what(companion: Register, register: Register) -> str:
    return companion.measurement_name.removesuffix(f" of {register.measurement_name}")


class _Places:
    """The replies that contain a register, and its columns in them."""

    def __init__(self, requests: Sequence[Request]) -> None:
        self._requests = requests
        self._offsets = [0]
        for request in requests:
            self._offsets.append(self._offsets[-1] + request.words)

    def blocks(self, register: Register) -> list[int]:
        """Return the indices of the replies that contain all words at the register's address."""
        return [place for place, request in enumerate(self._requests) if request.covers(register)]

    def columns(self, register: Register, block: int) -> tuple[int, ...]:
        """Return the columns of the register's words in this reply, the most significant first."""
        begin = (register.register_address - self._requests[block].address) * register.register_bytes // WORD_BYTES
        return word_columns(register, self._offsets[block] + begin)
