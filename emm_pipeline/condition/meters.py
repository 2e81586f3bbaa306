"""The status of every meter of the configuration database."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from emm_pipeline.config_db.device_state.failing_meters import load_failing
from emm_pipeline.config_db.device_state.meter_labels import load_labels
from emm_pipeline.config_db.device_state.meter_status import MeterStatus, load_statuses
from emm_pipeline.config_db.device_state.register_issues import load_accepted, load_issues
from emm_pipeline.config_db.editing.meter_rows import by_id
from emm_pipeline.config_db.loader import load_fleet_and_rows
from emm_pipeline.config_db.validation.meters import id_of
from emm_pipeline.errors import OutboxError
from emm_pipeline.opening import open_outbox
from emm_pipeline.polling.clock import clock_issue
from emm_pipeline.status import MeterFacts, PollingFacts, RegisterIssue, RegisterIssueKind, Status, decide

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy import Engine

    from emm_pipeline.failing import FailingMeter
    from emm_pipeline.fleet import ConfigurationIssue, MeterType
    from emm_pipeline.settings import Settings

STORE_IS_AWAY_AFTER = timedelta(minutes=2)
"""How long points may wait before they are reported: first the run tries to load them, then the replay."""


@dataclass(frozen=True, slots=True)
class MeterCondition:
    """A row of `energy_meters`, its status, and the times that are shown with it (aware).

    `id` is None if the row's id is invalid.
    """

    row: Mapping[str, Any]
    id: int | None
    status: Status
    last_read_at: datetime | None = None
    failures_in_a_row: int = 0
    next_attempt_at: datetime | None = None
    issues: Sequence[RegisterIssue] = ()
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The meter's name in messages."""
        described = f" ({self.row['description']})" if self.row.get("description") else ""
        return f"meter {self.row.get('id')}{described}"


def polling_facts(
    settings: Settings, newest_reading: datetime | None, now: datetime, stopped: str | None = None
) -> PollingFacts:
    """Return the facts about polling as a whole.

    Args:
        settings: Trigger and outbox.
        newest_reading: The time at which any meter was read last (aware).
        now: Aware.
        stopped: Why polling has stopped, if that is known.
    """
    polled_since = settings.poll_trigger.two_intervals_before(now)
    try:
        outbox = open_outbox(settings)
        since, why = outbox.waiting_since(), outbox.last_error()
    except OutboxError as err:
        since, why = None, str(err)
    waiting = since if since and now - since >= STORE_IS_AWAY_AFTER else None
    return PollingFacts(polled_since, stopped, waiting, why, clock_issue(now, newest_reading))


def meter_conditions(engine: Engine, settings: Settings, stopped: str | None = None) -> list[MeterCondition]:
    """Return the condition of every row of `energy_meters`, in the order of the ids.

    Raises:
        ConfigDatabaseError: The database cannot be read.
    """
    statuses, failing = load_statuses(engine), load_failing(engine)
    issues, accepted = load_issues(engine), load_accepted(engine)
    fleet, rows = load_fleet_and_rows(engine)
    newest_reading = max((status.last_read_at for status in statuses.values() if status.last_read_at), default=None)
    labels = load_labels(engine)
    polling = polling_facts(settings, newest_reading, datetime.now(UTC), stopped)
    meters, misconfigured = {meter.id: meter for meter in fleet.meters}, fleet.misconfigured
    conditions = []
    for row in sorted(rows, key=by_id):
        id_ = id_of(row)
        status = (statuses.get(id_) if id_ is not None else None) or MeterStatus(id_ or 0)
        fails = failing.get(id_) if id_ is not None else None
        meter = meters.get(id_) if id_ is not None else None
        known = _issues(fleet.types[meter.type], issues.get(meter.id, ()), accepted.get(meter.id, ())) if meter else ()
        facts = _facts(
            status,
            fails,
            id=id_,
            enabled=row.get("enabled") is not False,
            may_be_off=bool(meter and meter.may_be_off),
            configuration_issue=_configuration_issue(row, id_, misconfigured),
            issues=known,
        )
        conditions.append(
            MeterCondition(
                row,
                id_,
                decide(facts, polling),
                status.last_read_at,
                max(fails.failures if fails else 0, status.failures_in_a_row),
                fails.next_attempt_at if fails else None,
                known,
                labels.get(id_, {}) if id_ is not None else {},
            )
        )
    return conditions


def _configuration_issue(
    row: Mapping[str, Any], id_: int | None, misconfigured: Mapping[int, ConfigurationIssue]
) -> str | None:
    if id_ is None:
        return f"energy_meters: id is {row.get('id')!r}"
    issue = misconfigured.get(id_)
    return str(issue) if issue else None


def _facts(status: MeterStatus, fails: FailingMeter | None, **known: Any) -> MeterFacts:
    return MeterFacts(
        **known,
        first_seen_at=status.first_seen_at,
        polled_at=status.polled_at,
        last_read_at=status.last_read_at,
        failing_since=status.failing_since or (fails.since if fails else None),
        reason=fails.reason if fails else status.reason,
        next_attempt_at=fails.next_attempt_at if fails else None,
        silent=fails.silent if fails else status.silent,
    )


def _issues(
    meter_type: MeterType, stored: Collection[RegisterIssue], accepted: Collection[str]
) -> tuple[RegisterIssue, ...]:
    """Return a meter's register issues: those of its last reading, and those of its type's present rows."""
    if not stored and not meter_type.unusable:  # as for nearly every meter of a large fleet
        return ()
    absent = {RegisterIssueKind.ABSENT, RegisterIssueKind.UNSUPPORTED}
    since = {issue.measurement: issue.since for issue in stored}
    unusable = [
        RegisterIssue(name, RegisterIssueKind.MISCONFIGURED, why, since.get(name)) for name, why in meter_type.unusable
    ]
    delivered = [
        issue
        for issue in stored
        if issue.kind is not RegisterIssueKind.MISCONFIGURED
        and not (issue.kind in absent and issue.measurement in accepted)
    ]
    return (*unusable, *delivered)
