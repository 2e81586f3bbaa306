"""State of the computation of energies between runs: its first day, what to compute again, and what is incomplete."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, insert, select, tuple_
from sqlalchemy.dialects.postgresql import insert as upsert

from emm_pipeline.config_db.engine import database_errors
from emm_pipeline.config_db.tables import energy_begin, energy_open, energy_recomputations

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import date, datetime

    from sqlalchemy import Engine

LATE = "late readings"
"""Reason of a recomputation: readings were stored after their time. The hours around them may change, too."""
COMPLETED = "a reading after a gap"
"""Reason of a recomputation: the energy of a gap is known now."""
AROUND = "beside late readings"
"""Reason of a recomputation: the intervals between late readings and the ones before and after them."""


@dataclass(frozen=True, slots=True)
class Recomputation:
    """A time whose energies have to be computed again."""

    id: int
    from_time: datetime
    to_time: datetime
    reason: str


def load_begin(engine: Engine) -> date | None:
    """Return the first day of which energies are computed; None if there has been no reading."""
    with database_errors(engine), engine.connect() as connection:
        day: date | None = connection.scalar(select(func.min(energy_begin.c.day)))
        return day


def save_begin(engine: Engine, day: date) -> None:
    """Set the first day, unless it is set."""
    with database_errors(engine), engine.begin() as connection:
        connection.execute(upsert(energy_begin).values(day=day).on_conflict_do_nothing())


def note_recomputation(engine: Engine, begin: datetime, end: datetime, reason: str) -> None:
    """Note that the energies of a time have to be computed again, unless that is noted already."""
    table = energy_recomputations
    with database_errors(engine), engine.begin() as connection:
        known = select(table.c.id).where(table.c.from_time <= begin, table.c.to_time >= end, table.c.reason == reason)
        if connection.scalar(known.limit(1)) is None:
            connection.execute(insert(table).values(from_time=begin, to_time=end, reason=reason))


def load_recomputations(engine: Engine) -> list[Recomputation]:
    """Return all of them, oldest time first."""
    columns = energy_recomputations.c
    query = select(columns.id, columns.from_time, columns.to_time, columns.reason).order_by(columns.from_time)
    with database_errors(engine), engine.connect() as connection:
        return [Recomputation(*row) for row in connection.execute(query)]


def remove_recomputations(engine: Engine, ids: Collection[int]) -> None:
    """Remove those that were done, or are not needed."""
    with database_errors(engine), engine.begin() as connection:
        connection.execute(delete(energy_recomputations).where(energy_recomputations.c.id.in_(ids)))


def load_open(engine: Engine) -> dict[tuple[int, str], datetime]:
    """Return, by meter id and measurement, the time since when its energy is not complete."""
    with database_errors(engine), engine.connect() as connection:
        rows = connection.execute(select(energy_open))
        return {(row.meter_id, row.measurement_name): row.since for row in rows}


def save_open(engine: Engine, opened: Mapping[tuple[int, str], datetime], closed: Collection[tuple[int, str]]) -> None:
    """Set the counters whose energy is not complete, and remove those whose energy is."""
    key = tuple_(energy_open.c.meter_id, energy_open.c.measurement_name)
    with database_errors(engine), engine.begin() as connection:
        if closed:
            connection.execute(delete(energy_open).where(key.in_(closed)))
        if opened:
            statement = upsert(energy_open)
            statement = statement.on_conflict_do_update(
                index_elements=list(energy_open.primary_key.columns), set_={"since": statement.excluded.since}
            )
            rows = [
                {"meter_id": id_, "measurement_name": name, "since": since} for (id_, name), since in opened.items()
            ]
            connection.execute(statement, rows)
