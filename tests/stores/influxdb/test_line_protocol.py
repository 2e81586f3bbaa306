"""What is written as line protocol is read back as it was, and nothing else is."""

import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.frames import NOON_MS, lines, poll, readings

from emm_pipeline.naming import label_issue, measurement_issue
from emm_pipeline.readings import PollPoint
from emm_pipeline.stores.influxdb.line_protocol import ParsedPoll, ParsedReading, meter_of, parse_line
from emm_pipeline.stores.points import one_line

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20) | st.text(
    ',= "\\#\t\r.a', min_size=1, max_size=12
)
LABELS = st.none() | TEXTS.filter(lambda text: not label_issue(text))
MEASUREMENTS = TEXTS.filter(lambda text: not measurement_issue(text))
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
TIMES_MS = st.integers(-(10**12), 7 * 10**12)
IDS = st.integers(-(2**31), 2**31 - 1)
COUNTS = st.integers(0, 10**9)


READINGS = st.builds(ParsedReading, TIMES_MS, IDS, LABELS, MEASUREMENTS, LABELS, FLOATS)
ERRORS = st.none() | TEXTS.map(one_line).filter(bool)
POLLS = st.builds(ParsedPoll, TIMES_MS, IDS, LABELS, st.booleans(), FLOATS, COUNTS, COUNTS, ERRORS)


def at(point):
    return {"time": datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=point.time)}


@given(READINGS)
def test_a_reading_is_read_back_as_it_was_written(point):
    (line,) = lines(readings(point._asdict() | at(point)))
    assert parse_line(line) == point
    assert meter_of(line) == point.id


@given(POLLS)
def test_a_poll_is_read_back_as_it_was_written(point):
    (line,) = lines(readings(), [PollPoint(**(point._asdict() | at(point)))])
    assert parse_line(line) == point
    assert meter_of(line) == point.id


def test_an_error_is_read_back_with_its_quotes_and_backslashes():
    reason = 'timeout, "unit 7" = C:\\ ,id=9 '
    (line,) = lines(readings(), [poll(ok=False, error=reason)])
    assert parse_line(line).error == reason.strip()
    assert meter_of(line) == 1


GOOD = f"voltageL1,dataunit=V,description=example,id=1 value=230.5 {NOON_MS}"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "# a comment",
        "voltageL1,id=1 value=1",
        f"voltageL1 value=1 {NOON_MS}",
        f"voltageL1,id=x value=1 {NOON_MS}",
        f"voltageL1,id=1 value=nan {NOON_MS}",
        f"voltageL1,id=1 value=1e999 {NOON_MS}",
        f"voltageL1,id=1 value=1i {NOON_MS}",
        f"voltageL1,id=1 value=1,ok=1i {NOON_MS}",
        f"emm_poll,id=1 value=1 {NOON_MS}",
        f"voltageL1,id=1 ok=1i,requests=1i,points=1i {NOON_MS}",
        f"voltageL1,description=a b,id=1 value=1 {NOON_MS}",
        f"voltageL1,host=a,id=1 value=1 {NOON_MS}",
        f"voltageL1,description=nul\0,id=1 value=1 {NOON_MS}",
        f"{GOOD} ",
        f" {GOOD}",
        f"{GOOD}\n{GOOD}",
        f"voltageL1,id=\u0661 value=1 {NOON_MS}",
    ],
)
def test_a_line_of_any_other_form_is_refused(line):
    parse_line(GOOD)
    with pytest.raises(ValueError, match=r"EMM writes|beyond a float"):
        parse_line(line)


@given(st.text(',= \\"\0\nabid1.#', max_size=60))
def test_a_text_is_read_as_what_it_would_be_written_as_or_refused(text):
    for line in (text, f"a,description={text},id=1 value=1.0 1", f'emm_poll,id=1 ok=1i,error="{text}" 1'):
        with contextlib.suppress(ValueError):
            point = parse_line(line)
            assert lines(readings(point._asdict() | at(point))) == [line]
