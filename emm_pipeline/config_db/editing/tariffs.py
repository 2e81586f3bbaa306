"""Read, write and remove price lists of tariffs, each in one transaction.

A price list is all rows of `tariffs` with one name and one `valid_from`. It is written as a whole.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, insert, select, text

from emm_pipeline.config_db.engine import database_errors
from emm_pipeline.config_db.tables import energy_meters, tariffs
from emm_pipeline.config_db.validation.tariffs import WEEKDAYS, Price, PriceList, unknown_tariff
from emm_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from sqlalchemy import Connection, Engine, Row

Key = tuple[str, "date"]
"""The identity of a price list: the tariff's name, and `valid_from`."""


def load_price_lists(engine: Engine) -> list[PriceList]:
    """Return all price lists by name, the newest of a tariff first. Rows that cannot be used are left out.

    Raises:
        ConfigDatabaseError: The database cannot be read. All functions here raise it.
    """
    with database_errors(engine), engine.connect() as connection:
        return sorted(_load(connection).values(), key=lambda each: (each.name, -each.valid_from.toordinal()))


def load_tariff_users(engine: Engine) -> dict[str, list[int]]:
    """Return the ids of the meters that have a tariff, by its name."""
    with database_errors(engine), engine.connect() as connection:
        return _users(connection)


def find_price_list(engine: Engine, name: str, valid_from: date) -> PriceList:
    """Return a price list.

    Raises:
        ConfigurationError: There is none.
    """
    with database_errors(engine), engine.connect() as connection:
        return _require(_load(connection), (name.strip(), valid_from))


def write_price_list(
    engine: Engine, prices: PriceList, *, instead_of: Key | None = None, replace: bool = False
) -> PriceList | None:
    """Write a price list; return the one that it replaces, None if it is new.

    Args:
        engine: The configuration database.
        prices: The price list.
        instead_of: The one that is removed, which may have another name or begin.
        replace: Whether one with the same name and begin may be overwritten.

    Raises:
        ConfigurationError: `instead_of` does not exist; there is one with this name and begin already; or meters would
            be left without their tariff. Nothing was written.
    """
    key = prices.name, prices.valid_from
    with database_errors(engine), engine.begin() as connection:
        _lock(connection)
        there = _load(connection)
        before = _require(there, instead_of) if instead_of else there.get(key)
        if key in there and key != instead_of and not replace:
            raise ConfigurationError(f"tariff {key[0]!r} already has a price list from {key[1]}")
        for each in {key, instead_of or key}:
            _delete(connection, each)
        connection.execute(insert(tariffs), [_row(prices, each) for each in prices.prices])
        if before and before.name != prices.name:
            _require_unused(connection, before.name)
    return before


def remove_price_lists(
    engine: Engine, name: str, valid_from: date | None = None, *, force: bool = False
) -> list[PriceList]:
    """Remove one price list of a tariff, or all; return them.

    Raises:
        ConfigurationError: There is none; or (unless `force`) meters would be left without their tariff. Nothing was
            removed.
    """
    name = name.strip()
    with database_errors(engine), engine.begin() as connection:
        _lock(connection)
        there = _load(connection)
        if valid_from:
            found = [_require(there, (name, valid_from))]
        else:
            found = [each for each in there.values() if each.name == name]
        if not found:
            raise no_tariff(name, {each for each, _ in there})
        for each in found:
            _delete(connection, (name, each.valid_from))
        if not force:
            _require_unused(connection, name)
    return found


def require_tariff(connection: Connection, name: str) -> None:
    """Raise a ConfigurationError if there is no tariff with this name."""
    names = tariff_names(connection)
    if name.strip() not in names:
        raise no_tariff(name, names)


def tariff_names(connection: Connection) -> set[str]:
    """Return the names of all tariffs."""
    return set(connection.scalars(select(func.btrim(tariffs.c.name)).where(tariffs.c.name.is_not(None)).distinct()))


def no_tariff(name: str, names: set[str]) -> ConfigurationError:
    """Return the error about a tariff that does not exist."""
    return ConfigurationError(unknown_tariff(name, names))


def _load(connection: Connection) -> dict[Key, PriceList]:
    found: dict[Key, list[Row[Any]]] = defaultdict(list)
    columns = tariffs.c
    for row in connection.execute(select(tariffs).order_by(columns.name, columns.valid_from, columns.from_time)):
        is_usable = None not in {row.name, row.valid_from, row.price_per_kwh}
        if is_usable and WEEKDAYS.fullmatch(_days(row)):
            found[row.name.strip(), row.valid_from].append(row)
    return {
        key: PriceList(
            *key,
            tuple(
                Price(
                    row.price_per_kwh,
                    row.export_price or Decimal(0),
                    _days(row),
                    row.from_time or time(),
                    row.to_time or time(),
                )
                for row in rows
            ),
            max(row.base_price_per_month or Decimal(0) for row in rows),  # as costs are computed
            str(rows[0].currency or "EUR"),
        )
        for key, rows in found.items()
    }


def _days(row: Row[Any]) -> str:
    return str(row.weekdays or "1-7").strip()


def _require(there: Mapping[Key, PriceList], key: Key) -> PriceList:
    if key not in there:
        raise ConfigurationError(f"tariff {key[0]!r} has no price list from {key[1]}; emm tariffs list shows them")
    return there[key]


def _require_unused(connection: Connection, name: str) -> None:
    """Raise an error if meters have the tariff and it has no rows."""
    rows = connection.scalar(select(func.count()).select_from(tariffs).where(func.btrim(tariffs.c.name) == name))
    if not rows and (ids := _users(connection).get(name)):
        named = ", ".join(map(str, ids[:10])) + (" …" if len(ids) > 10 else "")  # noqa: PLR2004 - enough to find them
        raise ConfigurationError(
            f"{'meters' if len(ids) > 1 else 'meter'} {named} would be left without a price: give them another tariff "
            "first"
        )


def _users(connection: Connection) -> dict[str, list[int]]:
    columns = energy_meters.c
    query = select(func.btrim(columns.tariff), columns.id).where(columns.tariff.is_not(None), columns.id.is_not(None))
    found: dict[str, list[int]] = defaultdict(list)
    for name, id_ in connection.execute(query.order_by(columns.id)):
        if name:
            found[name].append(id_)
    return dict(found)


def _delete(connection: Connection, key: Key) -> None:
    connection.execute(delete(tariffs).where(func.btrim(tariffs.c.name) == key[0], tariffs.c.valid_from == key[1]))


def _row(prices: PriceList, price: Price) -> dict[str, Any]:
    return {
        "name": prices.name,
        "valid_from": prices.valid_from,
        "weekdays": price.weekdays,
        "from_time": price.from_time,
        "to_time": price.to_time,
        "price_per_kwh": price.price,
        "base_price_per_month": prices.base_price,
        "currency": prices.currency,
        "export_price": price.export_price,
    }


def _lock(connection: Connection) -> None:
    """Prevent other sessions from changing tariffs until the transaction ends; they can read them."""
    connection.execute(text("LOCK TABLE tariffs IN SHARE ROW EXCLUSIVE MODE"))
