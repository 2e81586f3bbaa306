"""The run queue: a scheduled poll starts at once, other runs wait, and the limit of concurrent runs holds."""

import pytest
from dagster import DagsterRunStatus
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.run_coordinator import SubmitRunContext
from dagster._core.test_utils import create_run_for_test

from emm_pipeline.dagster_ext.run_queue import PRIORITY_TAG, PollsFirst
from emm_pipeline.defs.schedules import DISCOVERY_PRIORITY, POLL_PRIORITY

POLL = {PRIORITY_TAG: POLL_PRIORITY}
ORIGIN = RemoteJobOrigin(RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("emm"), "__repository__"), "poll")


@pytest.fixture
def submit(pipeline, monkeypatch):
    """Submits a run with these tags; the result is its status, or "launched"."""
    instance = pipeline.instance
    launched = []

    def launch(run_id, workspace):
        launched.append(run_id)
        return instance.get_run_by_id(run_id)

    monkeypatch.setattr(instance, "launch_run", launch)

    def submit(tags):
        assert isinstance(instance.run_coordinator, PollsFirst)
        run = create_run_for_test(instance, tags=tags, remote_job_origin=ORIGIN)
        submitted = instance.run_coordinator.submit_run(SubmitRunContext(run, None))
        assert submitted.run_id == run.run_id
        return "launched" if run.run_id in launched else submitted.status

    return submit


def test_a_scheduled_poll_is_started_at_once(submit):
    assert submit(POLL) == "launched"


@pytest.mark.parametrize("tags", [{}, {PRIORITY_TAG: DISCOVERY_PRIORITY}, {PRIORITY_TAG: "high"}])
def test_other_runs_wait_in_the_queue(submit, tags):
    assert submit(tags) is DagsterRunStatus.QUEUED


@pytest.mark.parametrize("status", [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING])
def test_a_poll_waits_if_as_many_runs_as_allowed_are_in_progress(pipeline, submit, status):
    allowed = pipeline.instance.get_concurrency_config().run_queue_config.max_concurrent_runs
    for _ in range(allowed - 1):
        create_run_for_test(pipeline.instance, status=status)
    assert submit(POLL) == "launched"
    create_run_for_test(pipeline.instance, status=status)
    assert submit(POLL) is DagsterRunStatus.QUEUED
