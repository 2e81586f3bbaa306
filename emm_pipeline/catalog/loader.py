"""Loads and checks the files of the catalogue.

A file is `<type>.csv`. Its head is lines of `# key: value`; the keys of _ONCE may appear once, those of _REPEATED as
often as needed. Then follow a header and rows with the columns of the table `registers`; columns that are empty in all
rows may be left out.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple

from emm_pipeline.catalog.identifying import parse_identification
from emm_pipeline.catalog.records import INTERFACES, KINDS, CatalogueType
from emm_pipeline.catalog.sums import parse_combined
from emm_pipeline.catalog.variants import Catalogue
from emm_pipeline.catalog.vocabulary import VOCABULARY
from emm_pipeline.config_db.csv_tables import read_csv
from emm_pipeline.config_db.editing.register_rows import (
    NEEDED_COLUMNS,
    REGISTER_COLUMNS,
    SETTING_COLUMNS,
    TEXT_COLUMNS,
)
from emm_pipeline.config_db.validation import check_rows
from emm_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from emm_pipeline.catalog.records import Identification
    from emm_pipeline.config_db.csv_tables import CsvRow
    from emm_pipeline.fleet import MeterType, Register

_NEEDED = ("title", "vendor", "kind", "interfaces", "document")
_ONCE = (*_NEEDED, *SETTING_COLUMNS)
_REPEATED = ("alias", "source", "note", "identify", "combined")
_LEAST_SOURCES = 2


class _Head(NamedTuple):
    """The head of a file: the values of each key, with their line numbers."""

    values: dict[str, list[tuple[int, str]]]

    def once(self, key: str) -> str | None:
        """Return the value of a key that may appear once, or None."""
        return self.values[key][0][1] if key in self.values else None

    def all(self, key: str) -> tuple[str, ...]:
        """Return the values of a key in the order of their lines."""
        return tuple(value for _, value in self.values.get(key, []))


@cache
def load_catalogue() -> Catalogue:
    """Return the types of the catalogue by name, in alphabetical order. Variants are found by name, too.

    Raises:
        ConfigurationError: A file is wrong. The message names the file and the line.
    """
    files = sorted(resources.files(__package__).iterdir(), key=lambda file: file.name)
    tables = [(file.name, file.read_text(encoding="utf-8")) for file in files if file.name.endswith(".csv")]
    return Catalogue(parse_type(*table) for table in tables)


def parse_type(file_name: str, text: str) -> CatalogueType:
    """Return the type that a file describes.

    Args:
        file_name: `<type>.csv`, without folders.
        text: The content of the file.

    Raises:
        ConfigurationError: The content is wrong. The message names the line and the mistake.
    """
    head = _parse_head(file_name, text.splitlines())
    name = file_name.removesuffix(".csv")
    settings = {"type": name} | {key: head.once(key) for key in SETTING_COLUMNS}
    sums = [row for line in head.values.get("combined", []) for row in _combined(file_name, name, *line)]
    meter_type = _check_table(file_name, settings, _parse_rows(file_name, text, name), sums)
    return CatalogueType(
        name=name,
        title=head.once("title") or "",
        vendor=head.once("vendor") or "",
        kind=head.once("kind") or "",
        aliases=head.all("alias"),
        interfaces=_list(head.once("interfaces")),
        document=head.once("document") or "",
        sources=head.all("source"),
        notes=head.all("note"),
        identifications=tuple(_identification(file_name, *line) for line in head.values.get("identify", [])),
        meter_type=meter_type,
    )


def _list(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split(","))


def _error(file_name: str, line: int, reason: str) -> ConfigurationError:
    return ConfigurationError(f"catalogue, {file_name} line {line}: {reason}")


def _parse_head(file_name: str, lines: list[str]) -> _Head:
    head = _Head({})
    for number, line in enumerate(lines, 1):
        if not line.startswith("#"):
            break
        key, colon, value = (part.strip() for part in line[1:].partition(":"))
        if not colon or not value or key not in _ONCE + _REPEATED:
            allowed = ", ".join(_ONCE + _REPEATED)
            raise _error(file_name, number, f"is {line!r:.60}; allowed: # key: value with a key of {allowed}")
        if key in _ONCE and key in head.values:
            raise _error(file_name, number, f"{key} appears a second time")
        head.values.setdefault(key, []).append((number, value))
    missing = [key for key in _NEEDED if key not in head.values]
    if missing:
        raise _error(file_name, 1, f"the head does not contain {', '.join(missing)}")
    checked: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
        ("kind", (head.once("kind") or "",), KINDS),
        ("interfaces", _list(head.once("interfaces")), INTERFACES),
    )
    for key, given, allowed_values in checked:
        if not set(given) <= set(allowed_values):
            ((number, value),) = head.values[key]
            raise _error(file_name, number, f"{key} is {value!r}; allowed: {', '.join(allowed_values)}")
    if len(set(head.all("source"))) < _LEAST_SOURCES:
        raise _error(file_name, 1, f"the head names fewer than {_LEAST_SOURCES} sources")
    return head


def _identification(file_name: str, number: int, text: str) -> Identification:
    try:
        return parse_identification(text)
    except ValueError as err:
        raise _error(file_name, number, f"identify {err}") from err


def _combined(file_name: str, name: str, number: int, text: str) -> list[dict[str, Any]]:
    try:
        rows = list(parse_combined(name, text))
    except ValueError as err:
        raise _error(file_name, number, f"combined {err}") from err
    measurement, unit = rows[0]["measurement_name"], rows[0]["data_unit"]
    if measurement not in VOCABULARY or VOCABULARY[measurement].unit != unit:
        raise _error(file_name, number, f"combined {measurement} with unit {unit} is not in the vocabulary")
    return rows


def _parse_rows(file_name: str, text: str, name: str) -> list[tuple[int, CsvRow]]:
    """Return the rows, each with its line number, as column to value or None."""
    table = read_csv(text, REGISTER_COLUMNS, NEEDED_COLUMNS, TEXT_COLUMNS)
    if table.issues:
        line, reason = table.issues[0]
        raise _error(file_name, line or 1, reason)
    for number, row in table.rows:
        if row["type"] != name:
            raise _error(file_name, number, f"type is {row['type']!r}; allowed: the file's name, {name}")
    return table.rows


def _check_table(
    file_name: str,
    settings: Mapping[str, str | None],
    rows: Iterable[tuple[int, CsvRow]],
    sums: Iterable[Mapping[str, Any]],
) -> MeterType:
    """Return the meter type of the rows. A configuration issue is an error here."""
    issues = check_rows((), (), [settings]).issues
    if issues:
        raise _error(file_name, 1, str(issues[0]))
    registers: list[Register] = []
    for number, row in rows:
        fleet = check_rows((), [row], [settings])
        if fleet.issues:
            raise _error(file_name, number, str(fleet.issues[0]))
        (register,) = fleet.types[str(settings["type"])].registers
        if reason := _issue(register, registers):
            raise _error(file_name, number, reason)
        registers.append(register)
    if not registers:
        raise _error(file_name, 1, "has no rows")
    fleet = check_rows((), [row for _, row in rows], [settings], sums)
    if fleet.issues:
        raise _error(file_name, 1, str(fleet.issues[0]))
    return fleet.types[str(settings["type"])]


def _issue(register: Register, others: Iterable[Register]) -> str | None:
    """Return why a row conflicts with the rows before it or with the vocabulary, or None."""
    name = register.measurement_name
    if name not in VOCABULARY and register.stored:
        return f"measurement_name {name} is not in the vocabulary (emm_pipeline/catalog/vocabulary.py)"
    if name in VOCABULARY and register.data_unit != VOCABULARY[name].unit:
        return f"data_unit of {name} is {register.data_unit}; allowed: {VOCABULARY[name].unit}"
    for other in others:
        if other.measurement_name == name:
            return f"measurement_name {name} appears a second time"
        if _overlap(register, other):
            return f"{name} overlaps {other.measurement_name} at register_address {other.register_address}"
    return None


def _overlap(one: Register, other: Register) -> bool:
    place, other_place = ((each.function_code, each.model, each.model_copy) for each in (one, other))
    return (
        place == other_place
        and one.mask is other.mask is None  # bits of one register are several values
        and one.register_address < other.end
        and other.register_address < one.end
    )
