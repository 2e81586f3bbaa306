"""Readings and polls become a batch of points; a point that no store can hold is omitted and fails only its meter."""

import subprocess
import sys
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.frames import NOON, NOON_MS, points, poll, reading, readings, rows

from emm_pipeline.fleet import EnergyMeter
from emm_pipeline.naming import MAX_LABEL_BYTES
from emm_pipeline.readings import READING_COLUMNS, Failure, FailureKind, MeterReading
from emm_pipeline.stores.points import PointBatch, TextColumn
from emm_pipeline.stores.shaping import poll_points, shape_points
from emm_pipeline.stores.texts import listed

NO_READINGS = readings()
POINT = {
    "time": NOON_MS,
    "id": 1,
    "description": "example",
    "measurement": "voltageL1",
    "unit": "V",
    "value": 230.5,
}


def test_a_reading_becomes_a_point_with_its_time_meter_measurement_unit_and_value():
    assert rows(points(readings(reading()))) == [POINT]


@pytest.mark.parametrize("missing", [None, "", float("nan")])
def test_a_missing_description_or_unit_becomes_null(missing):
    assert rows(points(readings(reading(description=missing, unit=missing), reading(id=2)))) == [
        POINT | {"description": None, "unit": None},
        POINT | {"id": 2},
    ]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_value_that_is_not_a_finite_number_is_omitted(value):
    shaped = shape_points(readings(reading(value=value), reading(id=2)), [])
    assert rows(shaped.points) == [POINT | {"id": 2}]
    assert shaped.unstorable == {}


@pytest.mark.parametrize("text", ["two\nlines", "nul\0", "ends in \\", "a\\=b", "\ud800"])
@pytest.mark.parametrize("column", ["measurement", "unit", "description"])
def test_a_text_that_no_store_can_hold_affects_only_its_own_meter(column, text):
    shaped = shape_points(readings(reading(), reading(id=2, **{column: text}), reading(id=3)), [])
    assert [row["id"] for row in rows(shaped.points)] == [1, 3]
    assert list(shaped.unstorable) == [2]


@pytest.mark.parametrize("name", ["#comment", "\tindented", "back\\slash", "emm_poll", "", None])
def test_a_measurement_that_influxdb_would_skip_or_lose_is_omitted_and_named(name):
    shaped = shape_points(readings(reading(measurement=name), reading(id=2)), [])
    assert [row["id"] for row in rows(shaped.points)] == [2]
    assert "measurement" in shaped.unstorable[1]


def test_of_several_texts_that_no_store_can_hold_the_measurement_is_named_first():
    shaped = shape_points(readings(reading(description="bad\\"), reading(measurement="emm_poll", unit="\n")), [])
    assert shaped.unstorable == {1: "the measurement 'emm_poll' is the name of the pipeline's own measurement"}


def test_a_list_of_reasons_stays_short():
    assert listed(f"reason {number}" for number in range(100)).endswith("reason 4; and 95 more")


@pytest.mark.parametrize("text", ["x" * MAX_LABEL_BYTES, "ü" * (MAX_LABEL_BYTES // 2), "=" * (MAX_LABEL_BYTES // 2)])
def test_a_text_that_is_too_long_is_named_in_a_short_reason(text):
    assert len(points(readings(reading(description=text)))) == 1
    (reason,) = shape_points(readings(reading(description=text + "=")), []).unstorable.values()
    assert len(reason) < 200


def test_a_reason_is_one_line_even_for_a_text_of_several():
    (reason,) = shape_points(readings(reading(description="two\nlines\r\n\ud800")), []).unstorable.values()
    assert reason.isprintable()


def test_a_poll_becomes_a_point_with_its_result():
    good, failed = rows(
        points(NO_READINGS, [poll(), poll(id=2, ok=False, description="", latency_ms=np.inf, error="no\nreply ")])
    )
    assert good == {
        "time": NOON_MS,
        "id": 1,
        "description": "example",
        "ok": True,
        "latency_ms": 12.5,
        "requests": 2,
        "points": 7,
        "error": None,
        "status": None,
    }
    assert failed == good | {"id": 2, "ok": False, "description": None, "latency_ms": None, "error": "no reply"}


def test_a_poll_of_a_meter_whose_description_cannot_be_stored_is_omitted():
    shaped = shape_points(NO_READINGS, [poll(description="bad\\"), poll(id=2)])
    assert [row["id"] for row in rows(shaped.points)] == [2]
    assert list(shaped.unstorable) == [1]


@given(st.lists(st.none() | st.text(max_size=3)))
def test_a_column_of_texts_holds_them_and_each_once(texts):
    column = TextColumn.of(texts)
    assert column.tolist() == [text or None for text in texts]
    assert sorted(column.distinct) == sorted({text for text in texts if text})
    assert column[1:].tolist() == column.tolist()[1:]


@pytest.mark.parametrize("number", [126, 127, 128, 129, 130, 32_767, 32_768, 32_769])
def test_codes_are_large_enough_for_any_number_of_texts(number):
    texts = [str(text) for text in range(number)]
    assert TextColumn.of([*texts, None]).tolist() == [*texts, None]
    frame = readings(*(reading(id=id_, description=text) for id_, text in enumerate([*texts, None])))
    assert points(frame).readings.description.tolist() == [*texts, None]


@given(st.integers(0, 7), st.integers(0, 7))
def test_a_range_of_a_batch_has_its_readings_first_and_then_its_polls(start, stop):
    batch = points(readings(*(reading(id=id_) for id_ in range(3))), [poll(id=id_) for id_ in range(3)])
    assert rows(batch[start:stop]) == rows(batch)[start:stop]
    assert len(batch[start:stop]) == len(range(6)[start:stop])
    assert batch[start:stop].meter_ids() == [0, 1, 2, 0, 1, 2][start:stop]


def test_poll_records_count_the_points_of_that_meter_at_that_time():
    meters = [EnergyMeter(number, "host", 502, 1, "sdm630") for number in (1, 2)]
    failure = Failure(FailureKind.TIMEOUT, "no reply")
    samples = [
        MeterReading(meters[0], NOON, requests=2, latency_ms=12.5),
        MeterReading(meters[1], NOON, failure=failure, requests=1, latency_ms=3000.0),
    ]
    frame = readings(reading(), reading(measurement="voltageL2"), reading(time=NOON + timedelta(milliseconds=1)))
    assert list(poll_points(samples, frame)) == [
        poll(description=None, points=2),
        poll(id=2, description=None, ok=False, latency_ms=3000.0, requests=1, points=0, error="no reply", silent=True),
    ]


def test_an_empty_frame_of_no_types_has_no_points():
    empty = pd.DataFrame(columns=list(READING_COLUMNS))
    assert rows(points(empty)) == rows(PointBatch.of()) == []
    assert list(poll_points([], empty)) == []


def test_points_need_neither_pandas_nor_a_clients_library():
    code = (
        "import sys, emm_pipeline.stores.shaping, emm_pipeline.stores.base, emm_pipeline.stores.outbox.format_2\n"
        "print({'pandas', 'influxdb_client', 'sqlalchemy'} & set(sys.modules))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"


def test_checking_for_waiting_batches_needs_no_numpy(tmp_path):
    code = (
        "import sys; from pathlib import Path; from emm_pipeline.stores.outbox.folder import Outbox\n"
        "print(Outbox(Path(sys.argv[1]), 1).has_waiting(), 'numpy' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False False"
