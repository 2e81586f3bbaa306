"""Registers that do not deliver, by meter, and those whose absence a person has accepted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, select, tuple_
from sqlalchemy.dialects.postgresql import insert

from emm_pipeline.config_db.choosing import is_one_of
from emm_pipeline.config_db.device_state.meter_status import storable
from emm_pipeline.config_db.engine import connected, database_errors
from emm_pipeline.config_db.state_tables import accepted_absences, register_issues
from emm_pipeline.config_db.upsert import upsert
from emm_pipeline.status import RegisterIssue, RegisterIssueKind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    from sqlalchemy import Connection, Engine


def load_issues(engine: Engine) -> dict[int, tuple[RegisterIssue, ...]]:
    """Return, by meter id, the registers that did not deliver when the meter was last read.

    Raises:
        ConfigDatabaseError: The database cannot be read, or was never upgraded. All functions here raise it.
    """
    found: dict[int, list[RegisterIssue]] = {}
    ordered = select(register_issues).order_by(register_issues.c.meter_id, register_issues.c.measurement_name)
    with database_errors(engine), engine.connect() as connection:
        for row in connection.execute(ordered):
            issue = RegisterIssue(row.measurement_name, RegisterIssueKind(row.kind), row.reason, row.since)
            found.setdefault(row.meter_id, []).append(issue)
    return {meter_id: tuple(issues) for meter_id, issues in found.items()}


def save_issues(
    engine: Engine,
    read: Collection[int],
    issues: Mapping[int, Collection[RegisterIssue]],
    before: Mapping[int, Collection[RegisterIssue]],
    now: datetime,
) -> None:
    """Save the registers that do not deliver; write nothing if nothing has changed.

    Args:
        engine: The configuration database.
        read: The ids of the meters that were read completely.
        issues: The new issues, by meter id.
        before: The earlier issues, from `load_issues`.
        now: The start of new issues (aware).
    """
    known = {(id_, each.measurement): each for id_ in read for each in before.get(id_, ())}
    current = {(id_, each.measurement): each for id_ in read for each in issues.get(id_, ())}
    gone = [key for key in known if key not in current]
    changed = [
        {
            "meter_id": meter_id,
            "measurement_name": measurement,
            "kind": issue.kind.value,
            "reason": storable(issue.reason),
            "since": known[meter_id, measurement].since if (meter_id, measurement) in known else now,
        }
        for (meter_id, measurement), issue in current.items()
        if not _is_same(known.get((meter_id, measurement)), issue)
    ]
    if not gone and not changed:
        return
    with database_errors(engine), engine.begin() as connection:
        if gone:
            key = tuple_(register_issues.c.meter_id, register_issues.c.measurement_name)
            connection.execute(delete(register_issues).where(key.in_(gone)))
        if changed:
            upsert(connection, register_issues, changed)


def _is_same(before: RegisterIssue | None, now: RegisterIssue) -> bool:
    """Whether two issues are the same to a person. The value of an implausible register changes all the time."""
    if before is None or before.kind is not now.kind:
        return False
    return now.kind is RegisterIssueKind.IMPLAUSIBLE or before.reason == now.reason


def load_accepted(engine: Engine | Connection, ids: Collection[int] | None = None) -> dict[int, set[str]]:
    """Return, by meter id, the measurements whose absence a person has accepted; of all meters, or of these."""
    accepted: dict[int, set[str]] = {}
    chosen = select(accepted_absences).where(is_one_of(accepted_absences.c.meter_id, ids))
    with connected(engine) as connection:
        for row in connection.execute(chosen):
            accepted.setdefault(row.meter_id, set()).add(row.measurement_name)
    return accepted


def accept(engine: Engine, meter_id: int, measurements: Iterable[str]) -> None:
    """Accept that a meter does not have these measurements; their issues are deleted."""
    names = sorted(set(measurements))
    rows = [{"meter_id": meter_id, "measurement_name": name} for name in names]
    accepted = insert(accepted_absences).values(rows).on_conflict_do_nothing()
    table = register_issues.c
    absent = (RegisterIssueKind.ABSENT.value, RegisterIssueKind.UNSUPPORTED.value)
    with database_errors(engine), engine.begin() as connection:
        connection.execute(accepted)
        connection.execute(
            delete(register_issues).where(
                table.meter_id == meter_id, table.measurement_name.in_(names), table.kind.in_(absent)
            )
        )


def expect_again(engine: Engine, meter_id: int, measurements: Iterable[str]) -> None:
    """Undo `accept` for these measurements."""
    table = accepted_absences.c
    with database_errors(engine), engine.begin() as connection:
        connection.execute(
            delete(accepted_absences).where(
                table.meter_id == meter_id, table.measurement_name.in_(sorted(set(measurements)))
            )
        )
