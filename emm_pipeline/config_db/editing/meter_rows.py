"""Add, change and remove rows of `energy_meters`, each in one transaction.

A row is checked by the same rules as when it is read, so that no row is written that a discovery would report as a
configuration issue.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, text, update

from emm_pipeline.config_db.editing.meter_lists import Database
from emm_pipeline.config_db.editing.tariffs import require_tariff, tariff_names
from emm_pipeline.config_db.engine import database_errors
from emm_pipeline.config_db.loader import rows_of
from emm_pipeline.config_db.tables import energy_meters
from emm_pipeline.config_db.used_ids import load_used_ids, record_used_ids
from emm_pipeline.config_db.validation import check_rows
from emm_pipeline.config_db.validation.meters import HIGHEST_ID, id_of
from emm_pipeline.config_db.values import InvalidValueError, power, serial_settings
from emm_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from sqlalchemy import Connection, Engine

    from emm_pipeline.config_db.editing.meter_lists import MeterChange

_PLACE = ("host", "port", "slave_address")
"""The columns that identify a meter's unit."""

MeterRow = dict[str, Any]
"""Maps each column of the table to its value, including columns that EMM does not know."""


def load_meter_rows(engine: Engine) -> list[MeterRow]:
    """Return all rows ordered by id, including disabled ones and those with configuration issues.

    Raises:
        ConfigDatabaseError: The database cannot be read. All functions here raise it.
    """
    with database_errors(engine), engine.connect() as connection:
        return sorted((dict(row) for row in rows_of(connection, "energy_meters")), key=by_id)


def shown_gateway(row: Mapping[str, Any]) -> str:
    """Return the gateway of a row, which may have issues, with its transport if that is not Modbus TCP."""
    host, transport = str(row.get("host")), row.get("transport")
    if host.startswith("/"):
        return f"{host} {row.get('serial_settings') or ''}".rstrip()
    address = f"[{host}]:{row.get('port')}" if ":" in host else f"{host}:{row.get('port')}"
    return address if transport in {None, "tcp"} else f"{transport} {address}"


def add_meter(engine: Engine, row: Mapping[str, Any], *, force: bool = False) -> MeterRow:
    """Write a new meter. If `row` has no id, the meter gets the next id that no meter ever had.

    Returns:
        The row as it was written.

    Raises:
        ConfigurationError: The row is invalid, or its id is taken. Unless `force`: another meter had the id before, or
            another meter is the same unit. Nothing was written.
    """
    with _editing(engine) as connection:
        new = {"enabled": True, **_stripped(row)}
        rows = rows_of(connection, "energy_meters")
        used = load_used_ids(connection)
        taken = _ids(rows)
        if new.get("id") is None:
            new["id"] = max({0, *taken, *used}) + 1
            if new["id"] > HIGHEST_ID:
                raise ConfigurationError("the largest possible id is in use: choose a free one with --id")
        if new["id"] in taken:
            raise ConfigurationError(f"meter {new['id']} already exists: choose another id, or omit it")
        if new["id"] in used and not force:
            raise ConfigurationError(
                f"a former meter had the id {new['id']}, and its readings are in the store under this id: omit the id, "
                "or add --force if this is the same device"
            )
        _check(connection, new)
        if new.get("tariff"):
            require_tariff(connection, new["tariff"])
        if not force:
            _refuse_same_unit(new, rows)
        connection.execute(insert(energy_meters), new)
        record_used_ids(connection, {new["id"]})
    return new


def edit_meter(
    engine: Engine, id_: int, changes: Mapping[str, Any], *, allow_same_unit: bool = False
) -> tuple[MeterRow, MeterRow]:
    """Change columns of a meter; return its row before and after.

    Raises:
        ConfigurationError: There is no such meter, the changed row is invalid, or (unless `allow_same_unit`) another
            meter is the same unit. Nothing was written.
    """
    with _editing(engine) as connection:
        rows = rows_of(connection, "energy_meters")
        found = [dict(row) for row in rows if row["id"] == id_]
        if not found:
            raise ConfigurationError(f"there is no meter {id_}")
        changes = _stripped(changes)
        after = found[0] | changes
        # A meter can be enabled or disabled even if its row has other issues.
        if set(changes) != {"enabled"}:
            _check(connection, after)
        if changes.get("tariff") and changes["tariff"] != found[0].get("tariff"):
            require_tariff(connection, changes["tariff"])
        if not allow_same_unit and not set(_PLACE).isdisjoint(changes):
            _refuse_same_unit(after, [row for row in rows if row["id"] != id_])
        connection.execute(update(energy_meters).where(energy_meters.c.id == id_).values(changes))
    return found[0], after


def remove_meters(engine: Engine, ids: Collection[int]) -> None:
    """Delete meters. Their readings stay, and their ids are not used again. Unknown ids are ignored."""
    with _editing(engine) as connection:
        record_used_ids(connection, _ids(rows_of(connection, "energy_meters")))
        connection.execute(delete(energy_meters).where(energy_meters.c.id.in_(ids)))


def _ids(rows: Sequence[Mapping[str, Any]]) -> set[int]:
    return {id_ for row in rows if (id_ := id_of(row)) is not None}


def _stripped(row: Mapping[str, Any]) -> MeterRow:
    """Texts without the spaces around them, serial settings as they are read, and no tariff with an empty name."""
    texts = {column: value.strip() if isinstance(value, str) else value for column, value in row.items()}
    if texts.get("tariff") == "":
        texts["tariff"] = None
    if texts.get("serial_settings"):
        with suppress(InvalidValueError):  # reported with the row's other issues
            texts["serial_settings"] = serial_settings(texts["serial_settings"])
    return texts


def load_for_import(connection: Connection) -> Database:
    """Return the rows on which the import of a list of meters depends."""
    meters, registers, types = (rows_of(connection, name) for name in ("energy_meters", "registers", "meter_types"))
    return Database(meters, registers, types, load_used_ids(connection), tariff_names(connection))


def write_meters(connection: Connection, changes: Sequence[MeterChange]) -> None:
    """Write new and changed meters of a list, in the transaction of the connection."""
    for change in changes:
        if change.before is None:
            connection.execute(insert(energy_meters), change.row)
        else:
            statement = update(energy_meters).where(energy_meters.c.id == change.before["id"])
            connection.execute(statement.values(change.row))
    record_used_ids(connection, [change.row["id"] for change in changes if change.before is None])


def lock_meters(connection: Connection) -> None:
    """Prevent other sessions from changing meters until the transaction ends; they can read them."""
    connection.execute(text("LOCK TABLE energy_meters IN SHARE ROW EXCLUSIVE MODE"))


@contextmanager
def _editing(engine: Engine) -> Iterator[Connection]:
    """Open a transaction in which no other session can change meters."""
    with database_errors(engine), engine.begin() as connection:
        lock_meters(connection)
        yield connection


def _check(connection: Connection, row: MeterRow) -> None:
    """Raise a ConfigurationError if the row has issues. A disabled meter is checked as if it were enabled."""
    checked = row | {"enabled": True}
    fleet = check_rows([checked], rows_of(connection, "registers"), rows_of(connection, "meter_types"))
    issues = [f"{issue.column} {issue.reason}" for issue in fleet.issues if issue.table == "energy_meters"]
    if row.get("max_power_w") is not None:
        try:
            power(row["max_power_w"])
        except InvalidValueError as err:
            issues.append(f"max_power_w {err}")
    if issues:
        raise ConfigurationError(f"meter {row['id']}: {'; '.join(issues)}")


def _refuse_same_unit(row: MeterRow, others: Sequence[Mapping[str, Any]]) -> None:
    for other in others:
        if all(other[column] == row[column] for column in _PLACE):
            raise ConfigurationError(
                f"unit {row['slave_address']} at {row['host']}:{row['port']} is already meter {other['id']}; "
                "to configure it twice, add --force"
            )


def by_id(row: Mapping[str, Any]) -> tuple[bool, int, str]:
    """Return the key by which rows are sorted: rows with an invalid id are last."""
    id_ = id_of(row)
    return id_ is None, id_ or 0, str(row.get("id"))
