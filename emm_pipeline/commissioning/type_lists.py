"""The entries of `emm types list`: types of the catalogue and of the database, selected by words, kind and maker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emm_pipeline.config_db.editing.register_rows import TypeRows, combined_rows, register_row, settings_row
from emm_pipeline.fleet import MeterType

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from emm_pipeline.catalog import CatalogueType


def listed(
    catalogue: Mapping[str, CatalogueType],
    database: Mapping[str, TypeRows],
    used: Mapping[str, int],
    wanted: Wanted,
) -> list[dict[str, Any]]:
    """Return the wanted types in alphabetical order, each with its state in the database and its number of meters."""
    return [
        _entry(name, catalogue.get(name), database.get(name), used.get(name, 0))
        for name in wanted.of(catalogue, {*catalogue, *database})
    ]


class Wanted:
    """The conditions of a selection; a type meets all of them. Case and order of the words do not matter."""

    def __init__(self, words: Sequence[str] = (), kind: str | None = None, maker: str | None = None) -> None:
        self._words = [word.lower() for word in words]
        self._kind = kind
        self._maker = (maker or "").lower()

    def of(self, catalogue: Mapping[str, CatalogueType], names: set[str]) -> Iterator[str]:
        """Yield the names of the wanted types, in alphabetical order."""
        return (name for name in sorted(names) if self._meets(name, catalogue.get(name)))

    def _meets(self, name: str, entry: CatalogueType | None) -> bool:
        text = entry.searched if entry else name.lower()
        if not all(word in text for word in self._words):
            return False
        if self._kind and (entry is None or entry.kind != self._kind):
            return False
        return not self._maker or (entry is not None and self._maker in entry.vendor.lower())


def _entry(name: str, entry: CatalogueType | None, rows: TypeRows | None, meters: int) -> dict[str, Any]:
    registers = rows.registers if rows else entry.registers if entry else ()
    return {
        "type": name,
        "title": entry.title if entry else None,
        "registers": len(registers),
        "database": state(rows, entry),
        "meters": meters,
        "kind": entry.kind if entry else None,
        "maker": entry.vendor if entry else None,
        "aliases": list(entry.aliases) if entry else [],
    }


def state(database: TypeRows | None, entry: CatalogueType | None) -> str | None:
    """Return the state of a type in the database: as in the catalogue, edited, own, or None if it is not there."""
    if not database or not database.registers:
        return None
    if entry is None:
        return "own"
    return "as in the catalogue" if database == rows_of(entry) else "edited"


def rows_of(entry: CatalogueType) -> TypeRows:
    """Return the rows that an installation of the type writes."""
    default = MeterType(entry.name)
    registers = frozenset(register_row(entry.name, register) for register in entry.registers)
    return TypeRows(registers, settings_row(entry.meter_type, default), combined_rows(entry.meter_type))
