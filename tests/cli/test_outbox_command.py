"""`emm outbox` for people and programs."""

import json
from datetime import timedelta

import pytest
from support.frames import NOON, points, poll, reading, readings

from emm_pipeline.stores.base import RejectedPoints
from emm_pipeline.stores.outbox.folder import Outbox

POINTS = points(readings(reading(), reading(id=2)))


@pytest.fixture
def outbox(tmp_path):
    return Outbox(tmp_path / "outbox", 10**9)


@pytest.fixture
def emm_outbox(emm):
    def run(*arguments, **environment):
        return emm("outbox", *arguments, **environment)

    return run


def test_an_empty_outbox_is_reported_as_empty_and_the_command_exits_with_0(emm_outbox):
    shown = emm_outbox()
    assert shown.returncode == 0
    assert shown.stdout.endswith("no points wait\n")


def test_waiting_batches_are_shown_with_their_points_and_the_last_error_and_can_be_loaded(
    emm_outbox, outbox, config_engine
):
    for minute in range(25):
        outbox.put(POINTS, NOON + timedelta(minutes=minute), "run").close()
    outbox.note_error("InfluxDB does not answer")
    shown = emm_outbox()
    assert shown.returncode == 1
    assert "20260301T120000.000000Z-run.points" in shown.stdout
    assert "and 5 more" in shown.stdout
    assert "50 points in 25 files" in shown.stdout
    assert "InfluxDB does not answer" in shown.stdout

    replayed = emm_outbox("replay")
    assert (replayed.returncode, replayed.stdout) == (0, "50 points of 25 files loaded\n"), replayed.stderr
    with config_engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM readings").scalar() == 2, "the same two, 25 times"


def test_a_replay_while_the_store_is_unavailable_keeps_all_and_exits_with_1(emm_outbox, outbox):
    outbox.put(POINTS, NOON, "run").close()
    replayed = emm_outbox("replay", POSTGRES_DB="absent")
    assert replayed.returncode == 1
    assert "does not exist" in replayed.stderr
    assert "Traceback" not in replayed.stderr
    assert len(outbox.names()) == 1


def test_json_contains_rejected_points_and_the_reasons(emm_outbox, outbox):
    with outbox.put(POINTS, NOON, "run") as batch:
        batch.settle([RejectedPoints(POINTS[:1], "beyond retention policy [red]")])
    outbox.put(POINTS, NOON, "later").close()
    shown = json.loads(emm_outbox("--json").stdout)
    assert [file["points"] for file in shown["waiting"]] == [2]
    assert [(file["points"], file["reason"]) for file in shown["rejected"]] == [(1, "beyond retention policy [red]")]
    replayed = emm_outbox("replay", "--rejected")
    assert (replayed.returncode, replayed.stdout) == (0, "3 points of 2 files loaded\n"), replayed.stderr
    assert outbox.rejected() == []


def test_a_rejected_file_that_was_corrected_badly_is_named_and_the_others_are_loaded(emm_outbox, outbox):
    for minute in range(2):
        with outbox.put(POINTS, NOON + timedelta(minutes=minute), "run") as batch:
            batch.settle([RejectedPoints(POINTS, "field type conflict")])
    bad = outbox.rejected_folder / outbox.rejected()[0].name
    bad.write_text(bad.read_text().replace('"id": 1', '"id": "one"'))
    replayed = emm_outbox("replay", "--rejected")
    assert (replayed.returncode, replayed.stdout) == (1, "2 points of 1 files loaded\n")
    assert f"{bad.name}, line 3: id is not an integer; it stays in {outbox.rejected_folder}" in replayed.stderr


def test_the_points_of_a_file_are_shown_and_stay(emm_outbox, outbox):
    mixed = points(readings(reading(description="hall [red]")), [poll(id=2, ok=False, error="no reply")])
    with outbox.put(mixed, NOON, "run") as batch:
        batch.settle([RejectedPoints(mixed[:1], "field type conflict")])
    outbox.put(mixed, NOON, "later").close()
    shown = emm_outbox("show", outbox.names()[0]).stdout.splitlines()
    assert shown[1].split() == ["2026-03-01", "12:00:00", "1", "hall", "[red]", "voltageL1", "230.5", "V"]
    assert shown[2].split() == ["2026-03-01", "12:00:00", "2", "example", "emm_poll", "no", "reply"]
    assert json.loads(emm_outbox("show", "--json", outbox.rejected()[0].name).stdout) == [
        {
            "time": "2026-03-01T12:00:00.000Z",
            "id": 1,
            "description": "hall [red]",
            "measurement": "voltageL1",
            "unit": "V",
            "value": 230.5,
        }
    ]
    assert len(outbox.names()) == len(outbox.rejected()) == 1


@pytest.mark.parametrize("name", ["absent.points", "../outbox", "last-error.txt"])
def test_a_file_that_holds_no_points_is_named(emm_outbox, outbox, name):
    outbox.put(POINTS, NOON, "run").close()
    outbox.note_error("InfluxDB is unavailable")
    shown = emm_outbox("show", name)
    assert shown.returncode == 2
    assert name in shown.stderr
    assert "Traceback" not in shown.stderr


def test_a_damaged_file_is_reported_with_the_reason(emm_outbox, outbox):
    with outbox.put(POINTS, NOON, "run") as batch:
        (outbox.folder / batch.name).write_bytes(b"damaged")
    shown = emm_outbox("show", batch.name)
    assert shown.returncode == 2
    assert "is not a file of EMM's outbox" in shown.stderr
