"""Events of a run during an outage of PostgreSQL: none is lost, their order is kept, and no other process waits."""

from collections import deque

import pytest
from dagster import AssetKey, DagsterEvent, EventLogEntry
from psycopg2 import errors
from sqlalchemy.exc import OperationalError

from emm_pipeline.dagster_ext import outages
from emm_pipeline.dagster_ext.internals import AssetMaterializationPlannedData
from emm_pipeline.dagster_ext.outages import WaitingEvents, is_outage


class Log:
    """An event log that rejects the events in `failing`, and whose database may be unavailable."""

    def __init__(self) -> None:
        self.stored: list[str] = []
        self.failing: dict[str, Exception] = {}
        self.is_away = False

    def store_event(self, event: EventLogEntry) -> None:
        if event.user_message in self.failing:
            raise self.failing[event.user_message]
        self.stored.append(event.user_message)

    def store_event_batch(self, events) -> None:
        for event in events:
            Log.store_event(self, event)

    @property
    def _engine(self):
        return self

    def connect(self):
        if self.is_away:
            raise OperationalError("SELECT 1", {}, Exception("connection refused"))
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None: ...

    def store_event_of_step(self, connection, event: EventLogEntry) -> bool:
        return False


class WaitingLog(WaitingEvents, Log):
    _engine = Log._engine


@pytest.fixture
def log(monkeypatch):
    monkeypatch.setattr(outages, "RETRY_PAUSE_S", 0.0)
    log = WaitingLog()
    assert log._waiting == deque()
    return log


def event(message: str, step_key: str | None = "step", planned: DagsterEvent | None = None) -> EventLogEntry:
    return EventLogEntry(
        error_info=None,
        level="info",
        user_message=message,
        run_id="run",
        timestamp=0.0,
        step_key=step_key,
        job_name="poll",
        dagster_event=planned,
    )


def test_events_of_an_outage_are_stored_in_their_order_once_the_database_is_back(log):
    log.store_event(event("a"))
    log.is_away = True
    for name in ("b", "c", "d"):
        log.store_event(event(name))
    assert log.stored == ["a"]
    log.is_away = False
    log.store_event(event("end", step_key=None))
    assert log.stored == ["a", "b", "c", "d", "end"]


def test_a_batch_is_stored_after_the_events_that_wait(log):
    log.store_event(event("a"))
    log.is_away = True
    log.store_event(event("b"))
    with pytest.raises(OperationalError):
        log.store_event_batch([event("c"), event("d")])
    log.is_away = False
    log.store_event_batch([event("c"), event("d")])
    assert log.stored == ["a", "b", "c", "d"]


def test_a_process_that_only_plans_runs_does_not_wait(log):
    data = AssetMaterializationPlannedData(AssetKey("meter_readings"))
    planned = DagsterEvent.build_asset_materialization_planned_event("poll", "step", data)
    log.store_event(event("planned", planned=planned))
    log.failing["queued"] = OperationalError("INSERT", {}, Exception("connection refused"))
    with pytest.raises(OperationalError):
        log.store_event(event("queued", step_key=None))
    assert log.stored == ["planned"]


def test_an_event_that_the_database_rejects_does_not_affect_later_events(log, caplog):
    too_large = errors.ProgramLimitExceeded()
    log.failing["large"] = OperationalError("INSERT", {}, too_large)
    log.is_away = True
    for name in ("large", "b"):
        log.store_event(event(name))
    log.is_away = False
    log.failing["large"] = ValueError("index row is too large")
    log.store_event(event("c"))
    assert log.stored == ["b", "c"]
    assert "index row is too large" in caplog.text


def test_an_event_that_is_rejected_at_once_is_the_callers_error(log):
    log.failing["bad"] = ValueError("cannot be stored")
    with pytest.raises(ValueError, match="cannot be stored"):
        log.store_event(event("bad"))
    log.store_event(event("next"))
    assert log.stored == ["next"]


class Rejected(Exception):  # noqa: N818 - psycopg2's errors have no suffix either
    def __init__(self, pgcode: str | None) -> None:
        super().__init__(pgcode)
        self.pgcode = pgcode


@pytest.mark.parametrize(
    ("state", "outage"),
    [("57P01", True), ("08006", True), ("53300", True), (None, True), ("54000", False), ("57014", False)],
)
def test_a_statement_that_is_rejected_for_its_content_is_not_an_outage(state, outage):
    assert is_outage(OperationalError("INSERT", {}, Rejected(state))) is outage
