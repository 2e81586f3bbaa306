"""A run loads what its reading needs before the sample time, and waits until it is due."""

from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from emm_pipeline.defs import reading
from emm_pipeline.defs.reading import Reader
from emm_pipeline.polling.timing import START_MARGIN, SampleTime


@pytest.fixture
def done(monkeypatch) -> list[str]:
    """The calls, in order."""
    done: list[str] = []
    states = SimpleNamespace(prepare=lambda *_: done.append("load"))
    monkeypatch.setattr(reading, "state_of", lambda _: states)
    monkeypatch.setattr(reading, "time", SimpleNamespace(sleep=lambda s: done.append("wait" if s else "no wait")))
    return done


def wait(ahead_s: float, parent: str | None = None) -> None:
    due = datetime.now(UTC) + timedelta(seconds=ahead_s)
    run = SimpleNamespace(parent_run_id=parent, tags={})
    context = SimpleNamespace(run=run, run_id="run")
    database = SimpleNamespace(open=lambda: nullcontext("engine"))
    Reader(context, None, database, None, None).wait(SampleTime(due, due + timedelta(seconds=10)))


def test_device_state_is_loaded_when_the_run_before_has_saved_its_own():
    assert reading.ENOUGH_TO_PREPARE < reading.PREPARED_BEFORE < START_MARGIN


def test_device_state_is_loaded_shortly_before_the_sample_time(done):
    wait(ahead_s=3600)
    assert done == ["wait", "load", "wait"]


def test_a_late_reading_begins_at_once(done):
    wait(ahead_s=-1)
    assert done == ["no wait", "no wait"]


def test_a_run_that_is_executed_again_loads_nothing_for_the_sample_time_of_its_parent(done):
    wait(ahead_s=3600, parent="earlier")
    assert done == ["wait", "wait"]
