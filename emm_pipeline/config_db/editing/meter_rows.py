"""Rows of `energy_meters` as people edit them: added, changed and removed, each in one transaction.

A row is checked by the rules by which it is read, so that nothing is written that a discovery would then report.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, text, update

from emm_pipeline.config_db.engine import database_errors
from emm_pipeline.config_db.loader import rows_of
from emm_pipeline.config_db.tables import energy_meters
from emm_pipeline.config_db.used_ids import load_used_ids, record_used_ids
from emm_pipeline.config_db.validation import check_rows
from emm_pipeline.config_db.validation.meters import HIGHEST_ID, id_of
from emm_pipeline.config_db.values import InvalidValueError, serial_settings
from emm_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from sqlalchemy import Connection, Engine

_PLACE = ("host", "port", "slave_address")
"""The columns that say which unit a meter is."""

MeterRow = dict[str, Any]
"""Column to value, of whatever columns the table has."""


def load_meter_rows(engine: Engine) -> list[MeterRow]:
    """Return all rows, disabled ones and ones with configuration issues too, by id.

    Raises:
        ConfigDatabaseError: The database cannot be read. Like all functions here.
    """
    with database_errors(engine), engine.connect() as connection:
        return sorted((dict(row) for row in rows_of(connection, "energy_meters")), key=_by_id)


def add_meter(engine: Engine, row: Mapping[str, Any], *, force: bool = False) -> MeterRow:
    """Write a new meter; without an id in `row` it gets the next one that no meter ever had.

    Returns:
        The row as it was written.

    Raises:
        ConfigurationError: The row cannot be right, or its id is taken; or, unless `force`, its id was another meter's
            before, or another meter is that unit already. Nothing was written.
    """
    with _editing(engine) as connection:
        new = {"enabled": True, **_stripped(row)}
        rows = rows_of(connection, "energy_meters")
        used = load_used_ids(connection)
        taken = _ids(rows)
        if new.get("id") is None:
            new["id"] = max({0, *taken, *used}) + 1
            if new["id"] > HIGHEST_ID:
                raise ConfigurationError("the largest id was given already: choose one that is free with --id")
        if new["id"] in taken:
            raise ConfigurationError(f"there is a meter {new['id']} already: choose another id, or leave it out")
        if new["id"] in used and not force:
            raise ConfigurationError(
                f"there was a meter {new['id']}, whose readings stay in the store under this id: leave the id out, or "
                "add --force if this is the same device"
            )
        _check(connection, new)
        if not force:
            _refuse_same_unit(new, rows)
        connection.execute(insert(energy_meters), new)
        record_used_ids(connection, {new["id"]})
    return new


def edit_meter(
    engine: Engine, id_: int, changes: Mapping[str, Any], *, allow_same_unit: bool = False
) -> tuple[MeterRow, MeterRow]:
    """Change columns of a meter; returns its row before and after.

    Raises:
        ConfigurationError: There is no such meter, the changed row cannot be right, or (unless `allow_same_unit`)
            another meter is that unit already. Nothing was written.
    """
    with _editing(engine) as connection:
        rows = rows_of(connection, "energy_meters")
        found = [dict(row) for row in rows if row["id"] == id_]
        if not found:
            raise ConfigurationError(f"there is no meter {id_}")
        changes = _stripped(changes)
        after = found[0] | changes
        # Switching a meter on or off must be possible whatever else is wrong with it.
        if set(changes) != {"enabled"}:
            _check(connection, after)
        if not allow_same_unit and not set(_PLACE).isdisjoint(changes):
            _refuse_same_unit(after, [row for row in rows if row["id"] != id_])
        connection.execute(update(energy_meters).where(energy_meters.c.id == id_).values(changes))
    return found[0], after


def remove_meters(engine: Engine, ids: Collection[int]) -> None:
    """Delete meters; their readings stay, and their ids are not given again. Unknown ids are ignored."""
    with _editing(engine) as connection:
        record_used_ids(connection, _ids(rows_of(connection, "energy_meters")))
        connection.execute(delete(energy_meters).where(energy_meters.c.id.in_(ids)))


def _ids(rows: Sequence[Mapping[str, Any]]) -> set[int]:
    return {id_ for row in rows if (id_ := id_of(row)) is not None}


def _stripped(row: Mapping[str, Any]) -> MeterRow:
    """Texts without the spaces around them, and serial settings as they are read."""
    texts = {column: value.strip() if isinstance(value, str) else value for column, value in row.items()}
    if texts.get("serial_settings"):
        with suppress(InvalidValueError):  # reported with the row's other issues
            texts["serial_settings"] = serial_settings(texts["serial_settings"])
    return texts


@contextmanager
def _editing(engine: Engine) -> Iterator[Connection]:
    """A transaction in which no other session changes meters; others may read them."""
    with database_errors(engine), engine.begin() as connection:
        connection.execute(text("LOCK TABLE energy_meters IN SHARE ROW EXCLUSIVE MODE"))
        yield connection


def _check(connection: Connection, row: MeterRow) -> None:
    """Raise a ConfigurationError for what would be an issue; a disabled meter is checked as if it were enabled."""
    checked = row | {"enabled": True}
    fleet = check_rows([checked], rows_of(connection, "registers"), rows_of(connection, "meter_types"))
    issues = [f"{issue.column} {issue.reason}" for issue in fleet.issues if issue.table == "energy_meters"]
    if issues:
        raise ConfigurationError(f"meter {row['id']}: {'; '.join(issues)}")


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
