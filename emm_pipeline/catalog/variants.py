"""Types of the catalogue for devices that send their words, or bytes, in another order than the type says (pure).

The variant of `sdm630` for swapped words is `sdm630_swapped_words`. It differs in the orders of its registers only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING

from emm_pipeline.catalog.records import CatalogueType
from emm_pipeline.fleet import Order

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from emm_pipeline.catalog.records import Identification
    from emm_pipeline.fleet import Register

_OPPOSITE = {Order.BIG_ENDIAN: Order.LITTLE_ENDIAN, Order.LITTLE_ENDIAN: Order.BIG_ENDIAN}


class Swap(StrEnum):
    """Parts of a value that a device sends in the opposite order; the text is the ending of the variant's name."""

    NOTHING = ""
    WORDS = "swapped_words"
    BYTES = "swapped_bytes"
    BOTH = "swapped_words_and_bytes"

    @property
    def words(self) -> bool:
        """Whether the order of the words is the opposite one."""
        return self in {Swap.WORDS, Swap.BOTH}

    @property
    def bytes(self) -> bool:
        """Whether the order of the bytes in each word is the opposite one."""
        return self in {Swap.BYTES, Swap.BOTH}

    def of(self, word_order: Order, byte_order: Order) -> tuple[Order, Order]:
        """Return the orders that a device sends, where the type says `word_order` and `byte_order`."""
        return (
            _OPPOSITE[word_order] if self.words else word_order,
            _OPPOSITE[byte_order] if self.bytes else byte_order,
        )


class Catalogue(Mapping[str, CatalogueType]):
    """The types by name, in alphabetical order. Variants are found by their names, and not listed."""

    def __init__(self, types: Iterable[CatalogueType]) -> None:
        self._types = {entry.name: entry for entry in types}

    def __getitem__(self, name: str) -> CatalogueType:
        """Return the type with this name, or the variant of one."""
        if name in self._types:
            return self._types[name]
        for swap in Swap:
            base = name.removesuffix(f"_{swap}")
            if swap and base != name and base in self._types:
                return swapped(self._types[base], swap)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the types, without variants."""
        return iter(self._types)

    def __len__(self) -> int:
        """Return the number of types, without variants."""
        return len(self._types)


_variants: dict[tuple[int, Swap], tuple[CatalogueType, CatalogueType]] = {}
"""Variants by the identity of the type, which is kept, too: comparing types compares all their registers."""


def swapped(entry: CatalogueType, swap: Swap) -> CatalogueType:
    """Return the variant of a type for devices with other orders."""
    if swap is Swap.NOTHING:
        return entry
    key = id(entry), swap
    if key not in _variants:
        _variants[key] = entry, _variant(entry, swap)
    return _variants[key][1]


def _variant(entry: CatalogueType, swap: Swap) -> CatalogueType:
    name = f"{entry.name}_{swap}"
    registers = tuple(_register(register, swap) for register in entry.registers)
    return replace(
        entry,
        name=name,
        title=f"{entry.title}, {str(swap).replace('_', ' ')}",
        identifications=tuple(_identification(each, swap) for each in entry.identifications),
        meter_type=replace(entry.meter_type, name=name, registers=registers),
    )


def _identification(each: Identification, swap: Swap) -> Identification:
    return replace(each, register=_register(each.register, swap))


def _register(register: Register, swap: Swap) -> Register:
    word_order, byte_order = swap.of(register.word_order, register.byte_order)
    return replace(register, word_order=word_order, byte_order=byte_order)
