"""The steps of a run share one connection pool of the configuration database."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from dagster import build_init_resource_context, job, op

from emm_pipeline.defs import resources
from emm_pipeline.defs.resources import ConfigDatabase


@pytest.fixture
def history(monkeypatch) -> list[str]:
    """The uses of engines, in order."""
    history: list[str] = []

    @contextmanager
    def open_config_database(_: object) -> Iterator[str]:
        history.append("open")
        yield "engine"
        history.append("close")

    monkeypatch.setattr(resources, "open_config_database", open_config_database)
    return history


def use_twice(config_database: ConfigDatabase, history: list[str]) -> None:
    for _ in range(2):
        with config_database.open() as engine:
            history.append(f"use {engine}")


def test_the_steps_of_a_run_share_an_engine_which_is_closed_at_its_end(history):
    @op
    def first(config_database: ConfigDatabase) -> None:
        use_twice(config_database, history)

    @op
    def fails(config_database: ConfigDatabase) -> None:
        use_twice(config_database, history)
        raise ZeroDivisionError

    @job(resource_defs={"config_database": ConfigDatabase()})
    def steps() -> None:
        first()
        fails()

    for _ in range(2):
        history.clear()
        assert not steps.execute_in_process(raise_on_error=False).success
        assert history == ["open", *["use engine"] * 4, "close"]


def test_outside_of_a_run_an_engine_is_closed_after_each_use(history):
    with ConfigDatabase().yield_for_execution(build_init_resource_context()) as config_database:
        use_twice(config_database, history)
    assert history == ["open", "use engine", "close"] * 2
