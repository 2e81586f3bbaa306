"""Load the fleet from the configuration database."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import text

from emm_pipeline.config_db.engine import database_errors
from emm_pipeline.config_db.validation import check_rows
from emm_pipeline.config_db.validation.meters import address_of, valid_id
from emm_pipeline.config_db.values import shown
from emm_pipeline.fleet import ConfigurationIssue

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from sqlalchemy import Connection, CursorResult, Engine, Row

    from emm_pipeline.fleet import Fleet


_SIZES = text("SELECT CAST(type AS text), count(*) FROM registers GROUP BY 1")

MAX_REGISTERS_PER_TYPE = 10_000
"""Maximum number of rows of a type that is loaded: no device has more, and each poll holds them in memory."""


class Wanted(Protocol):
    """A choice of meters."""

    def __call__(self, meter_id: int | None, address: str | None) -> bool:
        """Whether a row is read. `address` is `EnergyMeter.address`; None if the row has no valid id or address."""


def load_fleet(engine: Engine, *, all_types: bool = False, wanted: Wanted | None = None) -> Fleet:
    """Read and check the whole configuration, from one snapshot of the database.

    A database that was never upgraded, with only the first two tables, can be read too.

    Args:
        engine: The engine of the configuration database.
        all_types: Also read the registers of types that no enabled meter has.
        wanted: Which rows of `energy_meters` are read; default: all. Of other meters, nothing is in the fleet.

    Raises:
        ConfigDatabaseError: The database cannot be read. An empty fleet is never returned instead, because callers
            remove meters that are not in the fleet.
    """
    return load_fleet_and_rows(engine, all_types=all_types, wanted=wanted)[0]


def load_fleet_and_rows(
    engine: Engine, *, all_types: bool = False, wanted: Wanted | None = None
) -> tuple[Fleet, Sequence[Mapping[str, Any]]]:
    """Return the fleet as `load_fleet`, and the rows of `energy_meters` from the same snapshot, in any order."""
    with database_errors(engine), engine.connect() as connection:
        # As a statement, because psycopg2 keeps other options for the connection's next transactions, and resends them.
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
        meters = rows_of(connection, "energy_meters", wanted)
        used = {_name(row["type"]) for row in meters if row.get("enabled") is not False}
        every: dict[str | None, int] = {name: count for name, count in connection.execute(_SIZES)}  # noqa: C416  # typed
        sizes = {name: count for name, count in every.items() if all_types or name is None or _name(name) in used}
        too_large = {name: count for name, count in sizes.items() if count > MAX_REGISTERS_PER_TYPE}
        registers = _registers_of(connection, sizes.keys() - too_large.keys())
        types = _rows_if_there(connection, "meter_types")
        loaded = {_name(name) for name in sizes.keys() - too_large.keys()}
        combined = [row for row in _rows_if_there(connection, "combined_measurements") if _name(row["type"]) in loaded]
    others = {_name(name) for name in every.keys() - sizes.keys()}
    fleet = check_rows(meters, registers, types, combined, others)
    if not too_large:
        return fleet, meters
    issues = [
        ConfigurationIssue(
            "registers",
            f"type {shown(name)}",
            "type",
            f"has {rows} rows; allowed: at most {MAX_REGISTERS_PER_TYPE}",
        )
        for name, rows in sorted(too_large.items(), key=str)
    ]
    return replace(fleet, issues=(*issues, *fleet.issues)), meters


def _rows_if_there(connection: Connection, table: str) -> Sequence[Mapping[str, Any]]:
    """Return the rows of a table; none if the database lacks it, since it was never upgraded."""
    there = connection.scalar(text("SELECT to_regclass(:table) IS NOT NULL"), {"table": table})
    return rows_of(connection, table) if there else []


def _registers_of(connection: Connection, types: Collection[str | None]) -> Sequence[Mapping[str, Any]]:
    """Return the rows of these types; None selects the rows without a type, which are reported."""
    query = "SELECT * FROM registers WHERE CAST(type AS text) = ANY(:types) OR (:without AND type IS NULL)"
    types_given = [name for name in types if name is not None]
    return _as_mappings(connection.execute(text(query), {"types": types_given, "without": None in types}))


def _name(type_name: object) -> str:
    """Return a type's name without surrounding white space (as Unicode defines it), for comparison."""
    return str(type_name).strip()


def rows_of(connection: Connection, table: str, wanted: Wanted | None = None) -> Sequence[Mapping[str, Any]]:
    """Return all rows with all columns of the table, or those of wanted meters; an old table may lack newer columns."""
    return _as_mappings(connection.execute(text(f"SELECT * FROM {table}")), wanted)  # noqa: S608 - one of a few names of our own


def _as_mappings(result: CursorResult[Any], wanted: Wanted | None = None) -> Sequence[Mapping[str, Any]]:
    columns = tuple(result.keys())
    rows = result.all() if wanted is None else _wanted(result.all(), wanted)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _wanted(rows: Sequence[Row[Any]], wanted: Wanted) -> Iterator[Row[Any]]:
    """Yield the rows of wanted meters; and those that have the same id as another row, which are not used."""
    ids = [valid_id(row.id) for row in rows]
    numbers = Counter(ids)
    for row, meter_id in zip(rows, ids, strict=True):
        if numbers[meter_id] > 1 or wanted(meter_id, address_of(row.host, row.port)):
            yield row
