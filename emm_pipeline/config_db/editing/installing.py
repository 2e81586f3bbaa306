"""Plan the installation of a catalogue type: the rows that it changes, and those that a person has edited (pure).

Three states of a type are compared: the rows in the database, those that the last installation wrote, and those in the
catalogue now. Rows that are only in the database were written by a person.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from emm_pipeline.config_db.editing.register_rows import CombinedRow, RegisterRow, TypeRows, place_of, series_of

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Installation:
    """The changes that an installation makes to a type's rows, sorted by function code and address.

    `edited` are rows in the database that a person wrote; `deleted` are rows of an earlier installation that a person
    removed. The installation undoes both. `settings` is the type's row of `meter_types` after the installation;
    `settings_edited` is true if a person wrote the present one. The same applies to `combined`, the type's rows of
    `combined_measurements`, which are replaced as a whole.
    """

    add: tuple[RegisterRow, ...]
    remove: tuple[RegisterRow, ...]
    edited: tuple[RegisterRow, ...]
    deleted: tuple[RegisterRow, ...]
    settings: tuple[Any, ...] | None
    settings_before: tuple[Any, ...] | None
    settings_edited: bool
    combined: frozenset[CombinedRow] = frozenset()
    combined_before: frozenset[CombinedRow] = frozenset()
    combined_edited: bool = False

    @property
    def changes_nothing(self) -> bool:
        """Whether the database already has all rows."""
        before = self.settings_before, self.combined_before
        return not self.add and not self.remove and before == (self.settings, self.combined)

    @property
    def overwrites_a_person(self) -> bool:
        """Whether the installation would undo a person's changes."""
        return bool(self.edited or self.deleted) or self.settings_edited or self.combined_edited

    @property
    def changed(self) -> tuple[tuple[RegisterRow, RegisterRow], ...]:
        """Rows whose values change, as pairs of before and after."""
        before = {series_of(row): row for row in self.remove}
        return tuple((before[series_of(row)], row) for row in self.add if series_of(row) in before)


def plan_installation(database: TypeRows, installed: TypeRows | None, catalogue: TypeRows) -> Installation:
    """Plan an installation; `installed` is None for a type that was never installed from the catalogue."""
    known = installed or TypeRows()
    edited = database.registers - known.registers - catalogue.registers
    deleted = (known.registers & catalogue.registers) - database.registers
    settings_edited = database.settings not in {known.settings, catalogue.settings, None}
    return Installation(
        add=_sorted(catalogue.registers - database.registers),
        remove=_sorted(database.registers - catalogue.registers),
        edited=_sorted(edited),
        deleted=_sorted(deleted),
        settings=catalogue.settings,
        settings_before=database.settings,
        settings_edited=settings_edited,
        combined=catalogue.combined,
        combined_before=database.combined,
        combined_edited=bool(database.combined - known.combined - catalogue.combined),
    )


def _sorted(rows: Iterable[RegisterRow]) -> tuple[RegisterRow, ...]:
    return tuple(sorted(rows, key=place_of))
