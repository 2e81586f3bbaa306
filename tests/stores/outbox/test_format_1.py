"""Batches of earlier versions of EMM: each valid line gives the original point, and any other line is an error.

The folder `written_by_format_1` was written by EMM at commit 6e50f05.
"""

import contextlib
import gzip
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.frames import NOON_MS, join, rows

from emm_pipeline.naming import label_issue, measurement_issue
from emm_pipeline.stores.delivery import Delivery
from emm_pipeline.stores.influxdb.line_protocol import LineProtocol
from emm_pipeline.stores.outbox.file import DamagedFileError
from emm_pipeline.stores.outbox.folder import Outbox
from emm_pipeline.stores.outbox.format_1 import parse_lines, unpack
from emm_pipeline.stores.points import PointBatch
from emm_pipeline.stores.texts import one_line

WRITTEN = Path(__file__).with_name("written_by_format_1")
HALL = 'hall=1, Zähler "A" \\ B\tü'
MINUTE_MS = 60_000


@pytest.fixture
def outbox(tmp_path):
    """An outbox as the earlier version left it."""
    shutil.copytree(WRITTEN, tmp_path / "outbox")
    return Outbox(tmp_path / "outbox", 10**9)


class Store:
    """A store that accepts everything."""

    def __init__(self):
        self.taken = []

    def write(self, points, *, until=None):
        self.taken.append(points)
        return []


def reading_row(**columns):
    row = {"time": NOON_MS, "id": 1, "description": "example", "measurement": "voltageL1", "unit": "V", "value": 230.5}
    return row | columns


def poll_row(**columns):
    row = {"time": NOON_MS, "id": 1, "description": "example", "ok": True, "latency_ms": 12.5, "requests": 2}
    return row | {"points": 7, "error": None, "status": None} | columns


def test_batches_of_an_earlier_version_are_shown_and_loaded_completely(outbox):
    assert [(file.points, file.reason) for file in outbox.waiting()] == [(6, None), (3, None)]
    store = Store()
    done = Delivery(store, outbox).replay()
    assert (done.files, done.points, done.problems, outbox.names()) == (2, 9, [], [])
    assert rows(join(store.taken)) == [
        reading_row(),
        reading_row(id=2, description=HALL, measurement="energy, total", unit=None, value=1e22),
        reading_row(id=3, description=None, measurement="current", unit="A", value=-0.1),
        reading_row(time=NOON_MS + MINUTE_MS, value=231.0),
        reading_row(time=NOON_MS + MINUTE_MS, id=2, measurement="carriage\rreturn", value=5e-324),
        poll_row(points=1),
        poll_row(id=2, description=HALL, latency_ms=None),
        poll_row(id=3, description=None, ok=False, points=0, error='timeout, "unit 7" = C:\\'),
        poll_row(time=NOON_MS + MINUTE_MS),
    ]


def test_points_that_an_earlier_version_kept_as_rejected_are_shown_and_can_be_loaded(outbox):
    (file,) = outbox.rejected()
    conflict = "InfluxDB at http://influxdb:8086 answered HTTP 400: field type conflict"
    assert (file.points, file.reason) == (3, f"{conflict}; points beyond retention policy")
    Delivery(Store(), outbox).replay()
    assert outbox.put_back_rejected().files == 1
    assert outbox.rejected() == []
    store = Store()
    assert Delivery(store, outbox).replay().points == 3
    assert rows(*store.taken) == [
        reading_row(time=NOON_MS + 2 * MINUTE_MS, id=4, measurement="voltageL2", value=7.0),
        reading_row(id=5, measurement="old"),
        poll_row(time=NOON_MS + 2 * MINUTE_MS, id=4, points=1),
    ]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no gzip",
        gzip.compress(b"# EMM outbox 1; 1 points; run x\na,id=1 value=1.0 1\n")[:-1],
        gzip.compress(b"# EMM outbox 1; 1 points; run x\na,id=1 value=1.0 1\n")[:20],
        gzip.compress(b"voltageL1,id=1 value=1 1\n"),
        gzip.compress(b"# EMM outbox 3; 1 points; run x\na,id=1 value=1 1\n"),
        gzip.compress(b"# EMM outbox 1; 2 points; run x\na,id=1 value=1 1\n"),
        gzip.compress(b"# EMM outbox 1; 1 points; run x\nno line protocol\n"),
        gzip.compress(b"\xff\xfe"),
    ],
    ids=["empty", "no gzip", "cut short", "cut early", "no header", "later version", "fewer points", "line", "no text"],
)
def test_a_damaged_file_of_an_earlier_version_is_set_aside(outbox, content):
    name = outbox.names()[0]
    (outbox.folder / name).write_bytes(content)
    store = Store()
    done = Delivery(store, outbox).replay()
    assert (done.files, outbox.names()) == (1, [])
    assert name in done.damaged[0]
    assert (outbox.rejected_folder / f"{name}.damaged").read_bytes() == content


# Line by line

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20) | st.text(
    ',= "\\#\t\r.a', min_size=1, max_size=12
)
LABELS = st.none() | TEXTS.filter(lambda text: not label_issue(text))
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
COUNTS = st.integers(0, 10**9)
TAGS = {"time": st.integers(-(10**12), 7 * 10**12), "id": st.integers(-(2**31), 2**31 - 1), "description": LABELS}
READINGS = st.fixed_dictionaries(
    TAGS | {"measurement": TEXTS.filter(lambda text: not measurement_issue(text)), "unit": LABELS, "value": FLOATS}
)
POLLS = st.fixed_dictionaries(
    TAGS
    | {"ok": st.booleans(), "latency_ms": st.none() | FLOATS, "requests": COUNTS, "points": COUNTS}
    | {"error": st.none() | TEXTS.map(one_line).filter(bool), "status": st.none()}
)


def lines_of(batch):
    return LineProtocol(batch).text(0, len(batch)).split("\n")[:-1]


@given(st.lists(READINGS, max_size=3), st.lists(POLLS, max_size=3))
def test_points_are_read_back_as_they_were_written(readings, polls):
    assert rows(parse_lines(lines_of(PointBatch.of(readings, polls)), "")) == [*readings, *polls]


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
        "voltageL1,id=1 value=1 9999999999999999999",
    ],
)
def test_a_line_of_any_other_form_is_an_error_that_names_the_file_and_the_line(line):
    assert len(parse_lines([GOOD], "file")) == 1
    with pytest.raises(DamagedFileError, match=r"file is damaged: point 2 does not have the form that EMM writes"):
        parse_lines([GOOD, line], "file")


@given(st.text(',= \\"\0\nabid1.#', max_size=60))
def test_a_text_is_read_as_it_would_be_written_or_is_an_error(text):
    for line in (text, f"a,description={text},id=1 value=1.0 1", f'emm_poll,id=1 ok=1i,error="{text}" 1'):
        with contextlib.suppress(DamagedFileError):
            assert lines_of(parse_lines([line], "")) == [line]


def test_a_poll_with_an_empty_error_has_none():
    line = 'emm_poll,id=1 ok=0i,requests=1i,points=0i,error="" 1'
    assert parse_lines([line], "").polls.error.tolist() == [None]
    assert len(unpack(gzip.compress(f"# EMM outbox 1; 1 points; run x\n{line}\n".encode()), "file")) == 1
