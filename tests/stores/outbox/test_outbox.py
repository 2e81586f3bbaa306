"""The outbox's folder: what is in it outlives a crash, is held by one process at a time, and is bounded."""

import gzip
import os
import subprocess
import sys
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.dagster_ui import wait_for
from support.frames import NOON

from emm_pipeline.errors import OutboxError
from emm_pipeline.stores.base import RejectedPoint
from emm_pipeline.stores.outbox.file import DamagedFileError, pack, unpack
from emm_pipeline.stores.outbox.folder import Outbox

LINES = ["voltageL1,id=1 value=230.5 1772366400000", "emm_poll,id=1 ok=1i,requests=1i,points=1i 1772366400000"]


@pytest.fixture
def outbox(tmp_path):
    return Outbox(tmp_path / "outbox", 10**9)


def put(outbox, minute=0, lines=LINES, run="run"):
    with outbox.put(lines, NOON + timedelta(minutes=minute), run) as batch:
        return batch.name


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), min_size=1), max_size=20))
def test_a_file_holds_the_lines_that_were_put_into_it(lines):
    assert unpack(pack(lines, "run"), "file") == lines


def test_a_file_is_line_protocol_behind_a_comment_that_influxdbs_own_tools_skip(outbox):
    name = put(outbox)
    text = gzip.decompress((outbox.folder / name).read_bytes()).decode()
    assert text.splitlines() == ["# EMM outbox 1; 2 points; run run", *LINES]


def test_names_sort_oldest_first_whatever_run_they_are_of(outbox):
    later, earlier = put(outbox, minute=1, run="a"), put(outbox, minute=0, run="b")
    assert outbox.names() == [earlier, later]


def test_what_waits_is_shown_with_its_points_and_size(outbox):
    put(outbox)
    (file,) = outbox.waiting()
    assert (file.points, file.reason) == (2, None)
    assert file.size == 4096


def test_an_outbox_that_was_never_used_is_empty(outbox):
    assert outbox.names() == outbox.waiting() == outbox.rejected() == outbox.trim() == []
    assert not outbox.has_waiting()
    assert outbox.last_error() is None
    assert not outbox.folder.exists()


def test_a_batch_is_held_by_one_at_a_time_and_free_again_afterwards(outbox):
    batch = outbox.put(LINES, NOON, "run")
    assert outbox.claim(batch.name) is None
    assert not outbox.has_waiting()
    batch.close()
    assert outbox.has_waiting()
    with outbox.claim(batch.name) as again:
        assert again.lines() == LINES
        assert outbox.claim(batch.name) is None


def test_a_batch_that_was_loaded_while_another_waited_for_it_is_gone(outbox, monkeypatch):
    first = outbox.put(LINES, NOON, "run")
    flock = __import__("fcntl").flock

    def loaded_meanwhile(fd, how):
        first.settle([])
        first.close()
        monkeypatch.setattr("emm_pipeline.stores.outbox.folder.fcntl.flock", flock)
        flock(fd, how)

    monkeypatch.setattr("emm_pipeline.stores.outbox.folder.fcntl.flock", loaded_meanwhile)
    assert outbox.claim(first.name) is None


HOLD = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from emm_pipeline.stores.outbox.folder import Outbox
batch = Outbox(Path(sys.argv[1]), 10**9).put(["a,id=1 value=1 1"], datetime.now(UTC), "killed")
print(batch.name, flush=True)
time.sleep(60)
"""


def test_a_killed_process_lets_go_of_its_batch(outbox):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(outbox.folder)], stdout=subprocess.PIPE, text=True)
    name = process.stdout.readline().strip()
    try:
        assert outbox.names() == [name]
        assert outbox.claim(name) is None, "it is held while the process lives"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    with wait_for("the lock to be free", lambda: outbox.claim(name)) as batch:
        assert batch.lines() == ["a,id=1 value=1 1"]


def test_the_file_is_on_the_disk_before_it_has_its_name(outbox, monkeypatch):
    outbox.folder.mkdir()
    calls = []
    fsync, rename = os.fsync, os.rename
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append("fsync"), fsync(fd)))
    monkeypatch.setattr(os, "rename", lambda *paths: (calls.append("rename"), rename(*paths)))
    put(outbox)
    assert calls == ["fsync", "rename", "fsync"], "the file, its name, the folder"


@pytest.mark.parametrize("failing", ["fsync", "rename"])
def test_of_a_file_that_could_not_be_written_nothing_is_left(outbox, monkeypatch, failing):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(OutboxError, match=rf"{outbox.folder}: No space left on device.*OUTBOX_DIR"):
        outbox.put(LINES, NOON, "run")
    assert names(outbox.folder) == []


def test_a_file_that_a_killed_process_left_half_written_goes_after_a_while(outbox):
    put(outbox)
    for name, age_s in ((".young.lp.gz.tmp", 60), (".old.lp.gz.tmp", 7200)):
        (outbox.folder / name).write_bytes(b"half")
        then = (outbox.folder / name).stat().st_mtime - age_s
        os.utime(outbox.folder / name, (then, then))
    assert len(outbox.names()) == 1, "neither is a batch"
    outbox.trim()
    assert ".young.lp.gz.tmp" in names(outbox.folder)
    assert ".old.lp.gz.tmp" not in names(outbox.folder)


# Bounds


def test_of_a_full_outbox_the_oldest_go_and_are_counted(tmp_path):
    outbox = Outbox(tmp_path, 3 * 4096)
    kept = [put(outbox, minute) for minute in range(5)][2:]
    dropped = outbox.trim()
    assert outbox.names() == kept
    assert [file.points for file in dropped] == [2, 2]


def test_an_outbox_that_is_exactly_full_loses_nothing(tmp_path):
    outbox = Outbox(tmp_path, 3 * 4096)
    for minute in range(3):
        put(outbox, minute)
    assert outbox.trim() == []


def test_a_batch_that_is_being_loaded_does_not_go_and_the_next_one_does(tmp_path):
    outbox = Outbox(tmp_path, 4096)
    with outbox.put(LINES, NOON, "oldest") as held:
        later = put(outbox, 1)
        assert [file.name for file in outbox.trim()] == [later]
        assert outbox.names() == [held.name]


def test_a_batch_larger_than_the_outbox_is_kept_while_it_is_loaded(tmp_path):
    outbox = Outbox(tmp_path, 1)
    with outbox.put(LINES, NOON, "run") as held:
        assert outbox.trim() == []
        assert outbox.names() == [held.name]


def test_rejected_files_count_and_go_too(tmp_path):
    outbox = Outbox(tmp_path, 4096)
    with outbox.put(LINES, NOON, "run") as batch:
        batch.settle([RejectedPoint(LINES[0], "field type conflict")])
    name = put(outbox, 1)
    (dropped,) = outbox.trim()
    assert dropped.reason == "field type conflict"
    assert outbox.rejected() == []
    assert outbox.names() == [name]


# Rejected and damaged


def test_what_was_refused_is_kept_as_text_below_its_reason_and_the_batch_goes(outbox):
    with outbox.put([*LINES, "c,id=3 value=1 1"], NOON, "run") as batch:
        batch.settle(
            [RejectedPoint(LINES[0], "no"), RejectedPoint(LINES[1], "never"), RejectedPoint("c,id=3 value=1 1", "no")]
        )
    assert outbox.names() == []
    (file,) = outbox.rejected()
    assert (file.points, file.reason) == (3, "no; never")
    text = (outbox.rejected_folder / file.name).read_text()
    assert text == f"# no\n{LINES[0]}\nc,id=3 value=1 1\n# never\n{LINES[1]}\n"


def test_what_was_refused_can_be_put_back_and_loaded_again(outbox):
    refused = [*LINES, "voltageL1,description=carriage\rreturn\u2028,id=1 value=230.5 1"]
    with outbox.put(refused, NOON, "run") as batch:
        batch.settle([RejectedPoint(line, f"no {number}") for number, line in enumerate(refused)])
    assert outbox.rejected()[0].points == 3
    put(outbox, 1)
    assert outbox.put_back_rejected() == 1
    assert outbox.rejected() == []
    oldest, _ = outbox.names()
    with outbox.claim(oldest) as batch:
        assert batch.lines() == refused
    assert outbox.put_back_rejected() == 0


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no gzip",
        pack(LINES, "run")[:-1],
        pack(LINES, "run")[:20],
        gzip.compress(b"voltageL1,id=1 value=1 1\n"),
        gzip.compress(b"# EMM outbox 2; 1 points; run x\na,id=1 value=1 1\n"),
        gzip.compress(b"# EMM outbox 1; 2 points; run x\na,id=1 value=1 1\n"),
        gzip.compress(b"\xff\xfe"),
    ],
    ids=["empty", "no gzip", "cut short", "cut early", "no header", "later version", "fewer points", "no text"],
)
def test_a_damaged_file_is_named_and_set_aside(outbox, content):
    name = put(outbox)
    (outbox.folder / name).write_bytes(content)
    assert len(outbox.waiting()) == 1
    with outbox.claim(name) as batch:
        with pytest.raises(DamagedFileError, match=name):
            batch.lines()
        batch.set_aside()
    assert outbox.names() == []
    (file,) = outbox.rejected()
    assert file.name.startswith(name)
    assert (outbox.rejected_folder / file.name).read_bytes() == content


def test_the_last_error_is_kept_with_its_time(outbox):
    put(outbox)
    outbox.note_error("InfluxDB is away")
    assert outbox.last_error().endswith("UTC: InfluxDB is away")


def test_a_folder_that_is_none_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutboxError, match="file"):
        Outbox(tmp_path / "file", 1).put(LINES, NOON, "run")
    with pytest.raises(OutboxError, match="file"):
        Outbox(tmp_path / "file", 1).names()
