"""A batch's file: points are read back exactly, or the file is reported as damaged."""

import json
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.frames import NOON_MS, points, poll, reading, readings, rows

from emm_pipeline.stores.outbox.file import DamagedFileError
from emm_pipeline.stores.outbox.format_2 import pack, read_count, unpack
from emm_pipeline.stores.points import PointBatch

BATCH = points(readings(reading(), reading(id=2, unit=None)), [poll(), poll(id=2, ok=False, error="no reply")])
FILE = pack(BATCH, "run")

TEXTS = st.none() | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
NUMBERS = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False)
TAGS = {"time": NUMBERS, "id": NUMBERS, "description": TEXTS}
READINGS = st.fixed_dictionaries(TAGS | {"measurement": TEXTS, "unit": TEXTS, "value": FLOATS})
POLLS = st.fixed_dictionaries(
    TAGS
    | {
        "ok": st.booleans(),
        "latency_ms": st.none() | FLOATS,
        "requests": NUMBERS,
        "points": NUMBERS,
        "error": TEXTS,
        "status": TEXTS,
    }
)


@given(st.lists(READINGS, max_size=8), st.lists(POLLS, max_size=8))
def test_points_are_read_back_as_they_were_written(given_readings, polls):
    batch = PointBatch.of(given_readings, polls)
    again = unpack(pack(batch, "run"), "file")
    assert rows(again) == [*given_readings, *polls]
    for before, after in ((batch.readings, again.readings), (batch.polls, again.polls)):
        assert [column.dtype for column in after.columns().values() if isinstance(column, np.ndarray)] == [
            column.dtype for column in before.columns().values() if isinstance(column, np.ndarray)
        ]


def test_a_batch_with_more_texts_than_a_byte_counts_is_read_back():
    batch = PointBatch.of([reading(time=NOON_MS, description=str(n)) for n in range(300)])
    assert rows(unpack(pack(batch, "run"), "file")) == rows(batch)


def test_a_file_has_the_documented_format():
    magic, version, count, checksum = struct.unpack("<8sIII", FILE[:20])
    assert (magic, version, count) == (b"EMMPOINT", 2, 4)
    assert checksum == zlib.crc32(FILE[8:16] + FILE[20:])
    line, columns = zlib.decompress(FILE[20:]).split(b"\n", 1)
    header = json.loads(line)
    assert (header["run"], header["rows"]) == ("run", {"readings": 2, "polls": 2})
    assert header["columns"][:3] == [
        ["readings", "time", "<i8", None],
        ["readings", "id", "<i8", None],
        ["readings", "description", "|i1", ["example"]],
    ]
    assert columns[16:32] == bytes([1, 2, *14 * [0]]), "the lowest bytes of both ids first"


def test_the_number_of_points_is_at_the_beginning_of_a_file(tmp_path):
    (tmp_path / "file").write_bytes(FILE[:20])
    assert read_count(tmp_path / "file") == 4
    (tmp_path / "file").write_bytes(FILE[:19])
    assert read_count(tmp_path / "file") == 0
    assert read_count(tmp_path / "absent") == 0


def test_a_byte_that_has_changed_anywhere_is_noticed():
    for position in range(len(FILE)):
        damaged = FILE[:position] + bytes([FILE[position] ^ 0x10]) + FILE[position + 1 :]
        with pytest.raises(DamagedFileError, match="file"):
            unpack(damaged, "file")


def test_a_file_that_was_cut_short_anywhere_is_noticed():
    for length in range(len(FILE)):
        with pytest.raises(DamagedFileError, match="file"):
            unpack(FILE[:length], "file")


def file_of(header, columns=b""):
    """A file with a valid checksum."""
    content = zlib.compress(json.dumps(header).encode() + b"\n" + columns)
    counts = struct.pack("<II", 2, 1)
    return b"EMMPOINT" + counts + struct.pack("<I", zlib.crc32(counts + content)) + content


@pytest.mark.parametrize(
    "header",
    [
        [],
        {},
        {"rows": {"readings": 1, "polls": 0}, "columns": []},
        {"rows": {"readings": 1, "polls": 0}, "columns": [["readings", "time", "<i8", None]]},
        {"rows": {"readings": 1, "polls": 0}, "columns": [["energy", "time", "<i8", None]]},
        {"rows": {"readings": 0, "polls": 0}, "columns": [["readings", "time", "|O", None]]},
        {"rows": {"readings": -1, "polls": 0}, "columns": [["readings", "time", "<i8", None]]},
    ],
)
def test_a_file_with_other_columns_than_a_batch_has_is_damaged(header):
    with pytest.raises(DamagedFileError, match="file is damaged"):
        unpack(file_of(header, bytes(8)), "file")


def test_a_file_of_a_later_version_names_both():
    with pytest.raises(DamagedFileError, match="file has the format 3; this version of EMM reads 2"):
        unpack(FILE[:8] + struct.pack("<I", 3) + FILE[12:], "file")
