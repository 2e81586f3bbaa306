"""The file of rejected points: it is readable, and read back exactly or reported with the number of the wrong line."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.frames import points, poll, reading, readings, rows

from emm_pipeline.naming import label_issue, measurement_issue
from emm_pipeline.stores.base import RejectedPoints
from emm_pipeline.stores.outbox import rejected
from emm_pipeline.stores.outbox.file import DamagedFileError
from emm_pipeline.stores.points import PointBatch
from emm_pipeline.stores.texts import one_line

HEADER = '{"format": "EMM rejected points", "version": 2}'
READING = (
    '{"time": "2026-03-01T12:00:00.000Z", "id": 1, "description": "example",'
    ' "measurement": "voltageL1", "unit": "V", "value": 230.5}'
)
POLL = (
    '{"time": "2026-03-01T12:00:00.000Z", "id": 1, "description": null, "measurement": "emm_poll",'
    ' "ok": false, "latency_ms": null, "requests": 2, "points": 7, "error": "no reply", "status": "failing"}'
)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("rejected") / "file"


def test_each_reason_is_written_once_above_its_points():
    batch = points(
        readings(reading(), reading(id=2)),
        [poll(description=None, ok=False, latency_ms=float("nan"), error="no reply", status="failing")],
    )
    content = rejected.pack(
        [RejectedPoints(batch[:1], "no"), RejectedPoints(batch[1:2], "never"), RejectedPoints(batch[2:], "no")]
    )
    assert content.decode().splitlines() == [
        HEADER,
        '{"reason": "never", "points": 1}',
        READING.replace('"id": 1', '"id": 2'),
        '{"reason": "no", "points": 2}',
        READING,
        POLL,
    ]


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
LABELS = st.none() | TEXTS.filter(lambda text: not label_issue(text))
NUMBERS = st.integers(-(2**62), 2**62)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
TAGS = {"time": NUMBERS, "id": NUMBERS, "description": LABELS}
READINGS = st.fixed_dictionaries(
    TAGS | {"measurement": TEXTS.filter(lambda text: not measurement_issue(text)), "unit": LABELS, "value": FLOATS}
)
POLLS = st.fixed_dictionaries(
    TAGS
    | {"ok": st.booleans(), "latency_ms": st.none() | FLOATS, "requests": NUMBERS, "points": NUMBERS}
    | {"error": st.none() | TEXTS.map(one_line).filter(bool), "status": st.sampled_from([None, "ok", "degraded"])}
)


@given(st.lists(READINGS, max_size=4), st.lists(POLLS, max_size=4))
def test_points_are_read_back_as_they_were_written(file, given_readings, polls):
    batch = PointBatch.of(given_readings, polls)
    file.write_bytes(rejected.pack([RejectedPoints(batch, "no")]))
    assert rows(rejected.read(file)) == [*given_readings, *polls]
    assert rejected.describe(file) == (len(batch), "no")


def test_a_file_that_a_person_has_corrected_is_read_as_it_is_now(file):
    file.write_text(f'{HEADER}\r\n\n{{"reason": "no"}}\n{READING.replace("230.5", "7")}\n\n')
    assert rejected.read(file).readings.value.tolist() == [7.0]


def changed(**cells):
    return json.dumps(json.loads(READING) | cells)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("no JSON", "line 2: is not JSON"),
        ("[1]", "line 2: is not a JSON object"),
        ("{}", "line 2: time is not a time"),
        (changed(time="yesterday"), "line 2: time is not a time such as 2026-03-01T12:00:00.000Z"),
        (changed(time="now"), "line 2: time is not a time"),
        (changed(time="2026-13-01T12:00:00Z"), "line 2: time is not a time"),
        (changed(time="-Z"), "line 2: time is not a time"),
        (changed(id="1"), "line 2: id is not an integer"),
        (changed(id=2**70), "line 2: id is not an integer"),
        (changed(id=True), "line 2: id is not an integer"),
        (changed(value="1"), "line 2: value is not a finite number"),
        (changed(value=float("nan")), "line 2: value is not a finite number"),
        (changed(value=10**400), "line 2: value is not a finite number"),
        (changed(measurement=None), "line 2: measurement is not a text"),
        (changed(measurement=""), "line 2: measurement is empty"),
        (changed(description="two\nlines"), "line 2: description holds a line break"),
        (changed(unit="\ud800"), "line 2: unit is not valid Unicode"),
        (POLL.replace("false", "0"), "line 2: ok is neither true nor false"),
        (POLL.replace('"no reply"', "5"), "line 2: error is not a text"),
    ],
)
def test_a_line_that_cannot_be_stored_is_named_with_the_reason(file, line, why):
    file.write_text(f"{HEADER}\n{line}\n")
    with pytest.raises(DamagedFileError, match=f"file, {why}"):
        rejected.read(file)


@pytest.mark.parametrize("header", ["", '{"format": "EMM rejected points", "version": 3}', READING])
def test_a_file_without_the_header_is_refused(file, header):
    file.write_text(f"{header}\n{READING}\n")
    with pytest.raises(DamagedFileError, match="file is not a file of rejected points of version 2"):
        rejected.read(file)
