"""Rows of `energy_meters` as people edit them: added, changed and removed, each in one transaction.

A row is checked by the rules by which it is read, so that nothing is written that a discovery would then report.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, text, update

from emm_pipeline.config_db.engine import database_errors
from emm_pipeline.config_db.loader import rows_of
from emm_pipeline.config_db.tables import energy_meters
from emm_pipeline.config_db.validation import check_rows
from emm_pipeline.config_db.values import NonsenseError, integer
from emm_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from sqlalchemy import Connection, Engine

_LARGEST_ID = 2**31 - 1

_PLACE = ("host", "port", "slave_address")
"""The columns that say which unit a meter is."""

MeterRow = dict[str, Any]
"""Column to value, of whatever columns the table has."""


def load_meter_rows(engine: Engine) -> list[MeterRow]:
    """Return all rows, disabled ones and nonsense too, by id.

    Raises:
        ConfigDatabaseError: The database cannot be read. Like all functions here.
    """
    with database_errors(engine), engine.connect() as connection:
        return sorted((dict(row) for row in rows_of(connection, "energy_meters")), key=_by_id)


def id_of(row: Mapping[str, Any]) -> int | None:
    """Return a row's id, whatever type the column has; None where it is none."""
    try:
        return integer(row.get("id"), -_LARGEST_ID - 1, _LARGEST_ID)
    except NonsenseError:
        return None


def add_meter(engine: Engine, row: Mapping[str, Any], *, allow_same_unit: bool = False) -> MeterRow:
    """Write a new meter; without an id in `row` it gets the next one that is free.

    Returns:
        The row as it was written.

    Raises:
        ConfigurationError: The row makes no sense, its id is taken, or (unless `allow_same_unit`) another meter is
            that unit already. Nothing was written.
    """
    with _editing(engine) as connection:
        new = {"enabled": True, **row}
        rows = rows_of(connection, "energy_meters")
        if new.get("id") is None:
            new["id"] = max((id_ for row in rows if (id_ := id_of(row)) is not None), default=0) + 1
            if new["id"] > _LARGEST_ID:
                raise ConfigurationError("the largest id is taken already: choose one that is free with --id")
        if any(id_of(other) == new["id"] for other in rows):
            raise ConfigurationError(f"there is a meter {new['id']} already: choose another id, or leave it out")
        _check(connection, new)
        if not allow_same_unit:
            _refuse_same_unit(new, rows)
        connection.execute(insert(energy_meters), new)
    return new


def edit_meter(
    engine: Engine, id_: int, changes: Mapping[str, Any], *, allow_same_unit: bool = False
) -> tuple[MeterRow, MeterRow]:
    """Change columns of a meter; returns its row before and after.

    Raises:
        ConfigurationError: There is no such meter, what it would be makes no sense, or (unless `allow_same_unit`)
            another meter is that unit already. Nothing was written.
    """
    with _editing(engine) as connection:
        rows = rows_of(connection, "energy_meters")
        found = [dict(row) for row in rows if row["id"] == id_]
        if not found:
            raise ConfigurationError(f"there is no meter {id_}")
        after = found[0] | dict(changes)
        # Switching a meter on or off must be possible whatever else is wrong with it.
        if set(changes) != {"enabled"}:
            _check(connection, after)
        if not allow_same_unit and not set(_PLACE).isdisjoint(changes):
            _refuse_same_unit(after, [row for row in rows if row["id"] != id_])
        connection.execute(update(energy_meters).where(energy_meters.c.id == id_).values(dict(changes)))
    return found[0], after


def remove_meters(engine: Engine, ids: Collection[int]) -> None:
    """Delete meters; their readings stay. An id that is not there is none's loss."""
    with _editing(engine) as connection:
        connection.execute(delete(energy_meters).where(energy_meters.c.id.in_(ids)))


@contextmanager
def _editing(engine: Engine) -> Iterator[Connection]:
    """A transaction in which nobody else changes meters; others may read them."""
    with database_errors(engine), engine.begin() as connection:
        connection.execute(text("LOCK TABLE energy_meters IN SHARE ROW EXCLUSIVE MODE"))
        yield connection


def _check(connection: Connection, row: MeterRow) -> None:
    """Refuse what would be an issue; a disabled meter's row is checked as if it were enabled."""
    checked = row | {"enabled": True}
    fleet = check_rows([checked], rows_of(connection, "registers"), rows_of(connection, "meter_types"))
    faults = [f"{issue.column} {issue.reason}" for issue in fleet.issues if issue.table == "energy_meters"]
    if faults:
        raise ConfigurationError(f"meter {row['id']}: {'; '.join(faults)}")


def _refuse_same_unit(row: MeterRow, others: Sequence[Mapping[str, Any]]) -> None:
    for other in others:
        if all(other[column] == row[column] for column in _PLACE):
            raise ConfigurationError(
                f"meter {other['id']} is unit {row['slave_address']} at {row['host']}:{row['port']} already; "
                "to have it twice: --force"
            )


def _by_id(row: MeterRow) -> tuple[bool, int, str]:
    id_ = id_of(row)
    return id_ is None, id_ or 0, str(row.get("id"))
