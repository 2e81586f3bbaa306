"""The outbox's folder: batches survive a crash, are locked by one process at a time, and have a limited size."""

import fcntl
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from support.dagster_ui import wait_for
from support.frames import NOON, points, poll, reading, readings, rows

from emm_pipeline.errors import OutboxError
from emm_pipeline.stores.base import RejectedPoints
from emm_pipeline.stores.outbox import folder
from emm_pipeline.stores.outbox.file import DamagedFileError
from emm_pipeline.stores.outbox.folder import Outbox
from emm_pipeline.stores.outbox.format_2 import pack

POINTS = points(readings(reading()), [poll()])


@pytest.fixture
def outbox(tmp_path):
    return Outbox(tmp_path / "outbox", 10**9)


def put(outbox, minute=0, batch_points=POINTS, run="run"):
    with outbox.put(batch_points, NOON + timedelta(minutes=minute), run) as batch:
        return batch.name


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_names_sort_oldest_first_whatever_run_they_are_of(outbox):
    later, earlier = put(outbox, minute=1, run="a"), put(outbox, minute=0, run="b")
    assert outbox.names() == [earlier, later]


def test_waiting_batches_are_shown_with_their_points_and_size(outbox):
    put(outbox)
    (file,) = outbox.waiting()
    assert (file.points, file.reason) == (2, None)
    assert file.size == 4096


def test_an_outbox_that_was_never_used_is_empty(outbox):
    assert outbox.names() == outbox.waiting() == outbox.rejected() == outbox.trim() == []
    assert not outbox.has_waiting()
    assert outbox.last_error() is None
    assert not outbox.folder.exists()


def test_a_batch_is_locked_by_one_process_at_a_time_and_released_afterwards(outbox):
    batch = outbox.put(POINTS, NOON, "run")
    assert outbox.claim(batch.name) is None
    assert not outbox.has_waiting()
    batch.close()
    assert outbox.has_waiting()
    with outbox.claim(batch.name) as again:
        assert rows(again.points()) == rows(POINTS)
        assert outbox.claim(batch.name) is None


def test_a_batch_that_was_loaded_while_another_process_waited_for_it_cannot_be_claimed(outbox, monkeypatch):
    first = outbox.put(POINTS, NOON, "run")
    flock = __import__("fcntl").flock

    def loaded_meanwhile(fd, how):
        first.settle([])
        first.close()
        monkeypatch.setattr("emm_pipeline.stores.outbox.file.fcntl.flock", flock)
        flock(fd, how)

    monkeypatch.setattr("emm_pipeline.stores.outbox.file.fcntl.flock", loaded_meanwhile)
    assert outbox.claim(first.name) is None


HOLD = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from emm_pipeline.stores.outbox.folder import Outbox
from emm_pipeline.stores.points import PointBatch
point = {"time": 1, "id": 1, "description": None, "measurement": "a", "unit": None, "value": 1.0}
batch = Outbox(Path(sys.argv[1]), 10**9).put(PointBatch.of([point]), datetime.now(UTC), "killed")
print(batch.name, flush=True)
time.sleep(60)
"""


def test_the_batch_of_a_killed_process_is_released(outbox):
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
        assert batch.points().readings.measurement.tolist() == ["a"]


def test_the_file_is_synced_to_disk_before_it_is_renamed(outbox, monkeypatch):
    outbox.folder.mkdir()
    calls = []
    fsync, rename = os.fsync, os.rename
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append("fsync"), fsync(fd)))
    monkeypatch.setattr(os, "rename", lambda *paths: (calls.append("rename"), rename(*paths)))
    put(outbox)
    assert calls == ["fsync", "rename", "fsync"], "the file, its name, the folder"


def test_each_created_folder_is_synced_to_disk(outbox, monkeypatch):
    """Otherwise a power failure after the first poll may remove the outbox's folder or `rejected` with its files."""
    synced = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(str(Path(f"/proc/self/fd/{fd}").readlink())), fsync(fd)))
    with outbox.put(POINTS, NOON, "run") as batch:
        assert str(outbox.folder.parent) in synced
        synced.clear()
        batch.settle([RejectedPoints(POINTS, "no")])
    assert str(outbox.folder) in synced


@pytest.mark.parametrize("failing", ["fsync", "rename"])
def test_no_part_of_a_file_that_could_not_be_written_is_left(outbox, monkeypatch, failing):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(OutboxError, match=rf"{outbox.folder}: No space left on device.*OUTBOX_DIR"):
        outbox.put(POINTS, NOON, "run")
    assert names(outbox.folder) == []


def test_a_file_that_a_killed_process_left_half_written_is_removed_after_a_while(outbox):
    put(outbox)
    for name, age_s in ((".young.points.tmp", 60), (".old.points.tmp", 7200)):
        (outbox.folder / name).write_bytes(b"half")
        then = (outbox.folder / name).stat().st_mtime - age_s
        os.utime(outbox.folder / name, (then, then))
    assert len(outbox.names()) == 1, "neither is a batch"
    outbox.trim()
    assert ".young.points.tmp" in names(outbox.folder)
    assert ".old.points.tmp" not in names(outbox.folder)


# Bounds


def test_a_full_outbox_removes_the_oldest_files_and_counts_them(tmp_path):
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


def test_a_batch_that_is_being_loaded_is_kept_and_the_next_one_removed(tmp_path):
    outbox = Outbox(tmp_path, 4096)
    with outbox.put(POINTS, NOON, "oldest") as held:
        later = put(outbox, 1)
        assert [file.name for file in outbox.trim()] == [later]
        assert outbox.names() == [held.name]


def test_a_batch_larger_than_the_outbox_is_kept_while_it_is_loaded(tmp_path):
    outbox = Outbox(tmp_path, 1)
    with outbox.put(POINTS, NOON, "run") as held:
        assert outbox.trim() == []
        assert outbox.names() == [held.name]


def test_files_of_rejected_points_are_counted_and_removed_too(tmp_path):
    outbox = Outbox(tmp_path, 4096)
    with outbox.put(POINTS, NOON, "run") as batch:
        batch.settle([RejectedPoints(POINTS[:1], "field type conflict")])
    name = put(outbox, 1)
    (dropped,) = outbox.trim()
    assert dropped.reason == "field type conflict"
    assert outbox.rejected() == []
    assert outbox.names() == [name]


def test_files_that_other_processes_remove_cause_no_error_and_no_further_removal(tmp_path, monkeypatch):
    """Two polls load their batches, put back what was rejected and trim at the same time."""
    outbox = Outbox(tmp_path, 4 * 4096)
    with outbox.put(POINTS, NOON, "rejected") as batch:
        batch.settle([RejectedPoints(POINTS, "no")])
    for name in (".being-written.points.tmp", ".other.points.tmp"):
        (tmp_path / name).write_bytes(b"half")
    for minute in range(1, 5):
        put(outbox, minute)
    kept = outbox.names()[1:]
    listed = folder._entries

    def removed_after_they_were_listed(path):
        entries = listed(path)
        for entry in entries:
            if entry.name.endswith((".tmp", ".jsonl")) or entry.name < kept[0]:
                if entry.name.endswith(".points"):
                    entry.stat()  # loaded by another poll after its size was counted
                Path(entry.path).unlink()
        return entries

    monkeypatch.setattr(folder, "_entries", removed_after_they_were_listed)
    assert outbox.trim() == []
    assert outbox.rejected() == []
    monkeypatch.undo()
    assert outbox.names() == kept


def test_a_file_that_another_process_removes_while_it_is_listed_is_shown_without_points(outbox, monkeypatch):
    put(outbox)
    with outbox.put(POINTS, NOON, "rejected") as batch:
        batch.settle([RejectedPoints(POINTS, "no")])
    listed = folder._entries

    def removed_after_they_were_listed(path):
        entries = listed(path)
        for entry in entries:
            Path(entry.path).unlink()
        return entries

    monkeypatch.setattr(folder, "_entries", removed_after_they_were_listed)
    assert [(file.points, file.size) for file in outbox.waiting()] == [(0, 0)]
    assert [(file.points, file.size) for file in outbox.rejected()] == [(0, 0)]


# Rejected and damaged


def test_rejected_points_are_kept_as_text_below_their_reason_and_the_batch_is_removed(outbox):
    with outbox.put(POINTS, NOON, "run") as batch:
        batch.settle([RejectedPoints(POINTS[:1], "no"), RejectedPoints(POINTS[1:], "never")])
    assert outbox.names() == []
    (file,) = outbox.rejected()
    assert (file.points, file.reason) == (2, "never; no")
    text = (outbox.rejected_folder / file.name).read_text()
    assert '"reason": "no"' in text
    assert '"measurement": "voltageL1", "unit": "V", "value": 230.5}' in text


def test_rejected_points_can_be_put_back_and_loaded_again(outbox):
    rejected = points(readings(reading(description="carriage\rreturn\u2028"), reading(id=2)), [poll()])
    with outbox.put(rejected, NOON, "run") as batch:
        batch.settle([RejectedPoints(rejected[n : n + 1], f"no {n}") for n in range(3)])
    assert outbox.rejected()[0].points == 3
    put(outbox, 1)
    assert outbox.put_back_rejected().files == 1
    assert outbox.rejected() == []
    oldest, _ = outbox.names()
    with outbox.claim(oldest) as batch:
        assert rows(batch.points()) == rows(rejected)
    assert outbox.put_back_rejected().files == 0


def test_rejected_points_that_cannot_be_read_stay_and_do_not_affect_other_files(outbox):
    for minute in range(2):
        with outbox.put(POINTS, NOON + timedelta(minutes=minute), "run") as batch:
            batch.settle([RejectedPoints(POINTS, "no")])
    bad = outbox.rejected_folder / outbox.rejected()[0].name
    bad.write_text(bad.read_text().replace("230.5", "230,5"))
    done = outbox.put_back_rejected()
    assert (done.files, len(outbox.names())) == (1, 1)
    assert done.problems[0].startswith(f"{bad.name}, line 3: is not JSON")
    assert [file.name for file in outbox.rejected()] == [bad.name]


def test_rejected_points_that_another_process_is_putting_back_are_skipped(outbox):
    with outbox.put(POINTS, NOON, "run") as batch:
        batch.settle([RejectedPoints(POINTS, "no")])
    file = outbox.rejected_folder / outbox.rejected()[0].name
    with file.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert outbox.put_back_rejected().files == 0
        assert file.exists()
    assert outbox.put_back_rejected().files == 1


@pytest.mark.parametrize(
    "content",
    [b"", b"no batch", pack(POINTS, "run")[:-1], pack(POINTS, "run")[:20], b"EMMPOINT\3\0\0\0" + bytes(100)],
    ids=["empty", "no batch", "cut short", "cut early", "later version"],
)
def test_a_damaged_file_is_named_and_set_aside(outbox, content):
    name = put(outbox)
    (outbox.folder / name).write_bytes(content)
    assert len(outbox.waiting()) == 1
    with outbox.claim(name) as batch:
        with pytest.raises(DamagedFileError, match=name):
            batch.points()
        batch.set_aside()
    assert outbox.names() == []
    (file,) = outbox.rejected()
    assert file.name.startswith(name)
    assert (outbox.rejected_folder / file.name).read_bytes() == content


def test_the_last_error_is_kept_with_its_time(outbox):
    put(outbox)
    outbox.note_error("InfluxDB is unavailable")
    assert outbox.last_error().endswith("UTC: InfluxDB is unavailable")


def test_a_path_that_is_not_a_folder_is_reported(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutboxError, match="file"):
        Outbox(tmp_path / "file", 1).put(POINTS, NOON, "run")
    with pytest.raises(OutboxError, match="file"):
        Outbox(tmp_path / "file", 1).names()
