import subprocess
import sys
from datetime import timedelta

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from influxdb_client.client.write.point import Point
from influxdb_client.domain.write_precision import WritePrecision
from support.frames import NOON, NOON_MS, poll, reading, readings

from emm_pipeline.fleet import EnergyMeter
from emm_pipeline.naming import MAX_LABEL_BYTES
from emm_pipeline.readings import READING_COLUMNS, Failure, FailureKind, MeterReading
from emm_pipeline.stores.points import listed, poll_lines, poll_points, reading_lines

ORDINARY = st.text(st.characters(exclude_categories=["C"], exclude_characters="\\"), min_size=1, max_size=20)


def line_of(**columns):
    (line,) = reading_lines(readings(reading(**columns))).lines
    return line


def test_a_reading_becomes_a_point_with_its_tags_value_and_time():
    assert line_of() == f"voltageL1,dataunit=V,description=example,id=1 value=230.5 {NOON_MS}"


@pytest.mark.parametrize("missing", [None, "", float("nan")])
def test_a_missing_description_or_unit_is_left_out(missing):
    assert line_of(description=missing, unit=missing) == f"voltageL1,id=1 value=230.5 {NOON_MS}"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_a_finite_number_is_never_written(value):
    assert reading_lines(readings(reading(value=value), reading(id=2))).lines == [line_of(id=2)]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_value_keeps_every_digit_and_is_a_float(value):
    text = line_of(value=value).split(" value=")[1].split(" ")[0]
    assert float(text) == value
    assert not text.endswith("i")


@given(ORDINARY.filter(lambda text: text[0] != "#"), ORDINARY, ORDINARY)
def test_ordinary_texts_are_escaped_as_influxdbs_own_client_does(measurement, unit, description):
    point = Point(measurement).tag("id", "1").tag("description", description).tag("dataunit", unit)
    expected = point.field("value", 230.5).time(NOON, WritePrecision.MS).to_line_protocol()
    assert line_of(measurement=measurement, unit=unit, description=description) == expected


@pytest.mark.parametrize("text", ["two\nlines", "nul\0", "ends in \\", "a\\=b", "\ud800"])
@pytest.mark.parametrize("column", ["measurement", "unit", "description"])
def test_a_text_that_line_protocol_cannot_carry_costs_only_its_own_meter(column, text):
    lines = reading_lines(readings(reading(), reading(id=2, **{column: text}), reading(id=3)))
    assert lines.lines == [line_of(), line_of(id=3)]
    assert list(lines.refused) == [2]


@pytest.mark.parametrize("name", ["#comment", "\tindented", "back\\slash", "emm_poll", "", None])
def test_a_measurement_that_influxdb_would_skip_or_lose_is_refused(name):
    lines = reading_lines(readings(reading(measurement=name)))
    assert lines.lines == []
    assert "measurement" in lines.refused[1]


def test_a_list_of_reasons_stays_short():
    assert listed(f"reason {number}" for number in range(100)).endswith("reason 4; and 95 more")


@pytest.mark.parametrize("text", ["x" * MAX_LABEL_BYTES, "ü" * (MAX_LABEL_BYTES // 2), "=" * (MAX_LABEL_BYTES // 2)])
def test_three_texts_of_the_greatest_length_fit_into_a_series_and_a_longer_one_is_refused(text):
    shaped = reading_lines(readings(reading(measurement=text, unit=text, description=text)))
    assert len(shaped.lines[0].encode()) < 65_535
    (reason,) = reading_lines(readings(reading(description=text + "="))).refused.values()
    assert len(reason) < 200


def test_a_refusal_is_one_line_even_for_an_ugly_text():
    (reason,) = reading_lines(readings(reading(description="two\nlines\r\n\ud800"))).refused.values()
    assert reason.isprintable()


def test_a_poll_becomes_a_point_of_emm_poll():
    assert poll_lines([poll()]).lines == [
        f"emm_poll,description=example,id=1 ok=1i,requests=2i,points=7i,latency_ms=12.5 {NOON_MS}"
    ]


def test_a_failed_poll_says_why_in_one_line():
    (line,) = poll_lines([poll(ok=False, description=None, error='no "reply"\nfrom C:\\')]).lines
    assert line.startswith("emm_poll,id=1 ok=0i,")
    assert 'error="no \\"reply\\" from C:\\\\"' in line


def test_a_poll_of_a_meter_whose_description_cannot_be_stored_is_refused():
    lines = poll_lines([poll(description="bad\\"), poll(id=2)])
    assert len(lines.lines) == 1
    assert list(lines.refused) == [1]


def test_poll_records_count_the_points_of_that_meter_at_that_time():
    meters = [EnergyMeter(number, "host", 502, 1, "sdm630") for number in (1, 2)]
    failure = Failure(FailureKind.TIMEOUT, "no reply")
    samples = [
        MeterReading(meters[0], NOON, requests=2, latency_ms=12.5),
        MeterReading(meters[1], NOON, failure=failure, requests=1, latency_ms=3000.0),
    ]
    frame = readings(reading(), reading(measurement="voltageL2"), reading(time=NOON + timedelta(milliseconds=1)))
    assert poll_points(samples, frame) == [
        poll(description=None, points=2),
        poll(id=2, description=None, ok=False, latency_ms=3000.0, requests=1, points=0, error="no reply"),
    ]


def test_an_empty_frame_of_no_types_has_no_points():
    empty = pd.DataFrame(columns=list(READING_COLUMNS))
    assert reading_lines(empty).lines == []
    assert poll_points([], empty) == []


def test_shaping_points_needs_neither_pandas_nor_a_clients_library():
    code = (
        "import sys, emm_pipeline.stores.points, emm_pipeline.stores.base\n"
        "print({'pandas', 'numpy', 'influxdb_client', 'sqlalchemy'} & set(sys.modules))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"
