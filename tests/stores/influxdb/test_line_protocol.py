"""Points as line protocol, read back with the parser of the outbox's format 1."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from influxdb_client.client.write.point import Point
from influxdb_client.domain.write_precision import WritePrecision
from support.frames import NOON, NOON_MS, lines, points, poll, reading, readings

from emm_pipeline.naming import MAX_LABEL_BYTES
from emm_pipeline.stores.influxdb.line_protocol import LineProtocol

ORDINARY = st.text(st.characters(exclude_categories=["C"], exclude_characters="\\"), min_size=1, max_size=20)


def line_of(**columns):
    (line,) = lines(readings(reading(**columns)))
    return line


def test_a_reading_becomes_a_line_with_its_tags_value_and_time():
    assert line_of() == f"voltageL1,dataunit=V,description=example,id=1 value=230.5 {NOON_MS}"


def test_a_missing_description_or_unit_makes_no_tag():
    assert line_of(description=None, unit=None) == f"voltageL1,id=1 value=230.5 {NOON_MS}"


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


@pytest.mark.parametrize("text", ["x" * MAX_LABEL_BYTES, "ü" * (MAX_LABEL_BYTES // 2), "=" * (MAX_LABEL_BYTES // 2)])
def test_three_texts_of_the_greatest_length_fit_into_a_series(text):
    assert len(line_of(measurement=text, unit=text, description=text).encode()) < 65_535


def test_a_poll_becomes_a_line_of_emm_poll():
    assert lines(readings(), [poll()]) == [
        f"emm_poll,description=example,id=1 ok=1i,requests=2i,points=7i,latency_ms=12.5 {NOON_MS}"
    ]


def test_a_poll_has_the_meters_status_as_a_field():
    (line,) = lines(readings(), [poll(status="waiting for store")])
    assert line.split(" ", 1)[1].startswith('ok=1i,requests=2i,points=7i,latency_ms=12.5,status="waiting for store" ')


def test_a_failed_poll_says_why_in_one_line():
    (line,) = lines(readings(), [poll(ok=False, description=None, error='no "reply"\nfrom C:\\')])
    assert line.startswith("emm_poll,id=1 ok=0i,")
    assert 'error="no \\"reply\\" from C:\\\\"' in line


TEXTS = st.none() | st.sampled_from(["V", "A", "W", "hall", "shed"])
ROWS = st.fixed_dictionaries(
    {"id": st.integers(1, 3), "description": TEXTS, "measurement": st.sampled_from("abc"), "unit": TEXTS}
)


@given(st.lists(ROWS, max_size=12), st.integers(0, 14), st.integers(0, 14))
def test_each_line_has_the_texts_of_its_own_row_whatever_the_rows_around_it(given_rows, start, stop):
    polls = [poll(), poll(id=2, description=None)]
    frame = readings(*(reading(**row, value=number) for number, row in enumerate(given_rows)))
    batch = points(frame, polls)
    alone = [lines(readings(reading(**row, value=number)))[0] for number, row in enumerate(given_rows)]
    expected = [*alone, *lines(readings(), polls)]
    assert lines(frame, polls) == expected
    assert LineProtocol(batch).text(start, stop) == "".join(f"{line}\n" for line in expected[start:stop])


@pytest.mark.parametrize("number", [127, 128, 129, 300])
def test_many_different_units_and_measurements_are_not_confused(number):
    rows = [reading(measurement=f"m{n}", unit=f"u{n}" if n else None) for n in range(number)]
    expected = [f"m{n}{f',dataunit=u{n}' if n else ''},description=example" for n in range(number)]
    assert [line.split(",id=")[0] for line in lines(readings(*rows))] == expected
