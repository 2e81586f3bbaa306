"""Find the meters that a person names on the command line, by id or by description."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from emm_pipeline.config_db.editing.meter_rows import load_meter_rows
from emm_pipeline.config_db.validation.meters import id_of
from emm_pipeline.errors import ConfigurationError
from emm_pipeline.suggesting import suggestion

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Engine

    from emm_pipeline.config_db.editing.meter_rows import MeterRow

_INTEGER = re.compile(r"-?\d{1,10}", re.ASCII)


def find_meters(rows: Sequence[MeterRow], names: Iterable[str]) -> list[MeterRow]:
    """Return the rows of `energy_meters` that have the names, each row once.

    An integer is an id if a meter has that id; any other name is a description.

    Raises:
        ConfigurationError: No meter has one of the names, or several meters have it as their description.
    """
    found: dict[int | None, MeterRow] = {}
    for name in names:
        same = _meters_of(rows, name)
        if not same:
            hint = suggestion(name, (str(row.get("description") or "") for row in rows))
            raise ConfigurationError(f"no meter has the id or description {name!r}; emm meters list shows them{hint}")
        if len(same) > 1:
            ids = ", ".join(map(str, same))
            raise ConfigurationError(f"meters {ids} have the same description {name!r}: give an id")
        found |= same
    return list(found.values())


def _meters_of(rows: Iterable[MeterRow], name: str) -> dict[int | None, MeterRow]:
    """Return the rows that match a name, by id; of several rows with the same id, the first."""
    by_id: dict[int | None, MeterRow] = {}
    for row in rows:
        by_id.setdefault(id_of(row), row)
    if _INTEGER.fullmatch(name) and int(name) in by_id:
        return {int(name): by_id[int(name)]}
    described = {id_: row for id_, row in by_id.items() if str(row.get("description") or "").strip() == name.strip()}
    return described if name.strip() else {}


def ids_of(engine: Engine, names: Sequence[str]) -> set[int]:
    """Return the ids of the meters in the database that have the names, enabled or not.

    Raises:
        ConfigurationError: As `find_meters`.
    """
    found = find_meters(load_meter_rows(engine), names)
    return {id_ for row in found if (id_ := id_of(row)) is not None}


def named(row: Mapping[str, Any]) -> str:
    """Return how messages name the meter of a row: `meter 1 (barn)`."""
    return f"meter {row['id']}" + (f" ({row['description']})" if row.get("description") else "")
