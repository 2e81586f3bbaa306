import os
from datetime import UTC, datetime, timedelta

import pytest

from emm_pipeline.stores.outbox import copies
from emm_pipeline.stores.outbox.copies import BatchCopies
from emm_pipeline.stores.outbox.file import DamagedFileError
from emm_pipeline.stores.outbox.folder import Outbox
from emm_pipeline.stores.points import PointBatch

POINT = {"time": 1, "id": 5, "description": None, "measurement": "voltage", "unit": "V", "value": 230.5}
POINTS = PointBatch.of([POINT])


@pytest.fixture
def outbox(tmp_path):
    return Outbox(tmp_path, 10**9)


def put(outbox, age=timedelta(), run="run"):
    """Put a batch, and the copy of it, as `Delivery.put` does; the store then acknowledges the batch."""
    with outbox.put(POINTS, datetime.now(UTC) - age, run) as batch:
        BatchCopies(outbox.folder).add(outbox.folder / batch.name)
        batch.settle([])
    return batch.name


def test_a_copy_outlives_the_batch_and_can_be_taken_once(outbox):
    wanted = BatchCopies(outbox.folder)
    wanted.folder.mkdir()
    name = put(outbox)
    assert outbox.names() == []
    assert list(wanted.take(name).readings.rows()) == [POINT]
    assert wanted.names() == []


def test_without_a_publisher_there_are_no_copies(outbox):
    put(outbox)
    assert list(outbox.folder.iterdir()) == []


def test_copies_do_not_count_as_batches_that_wait(outbox):
    BatchCopies(outbox.folder).folder.mkdir()
    put(outbox)
    assert not outbox.has_waiting()
    assert outbox.waiting() == outbox.rejected() == outbox.trim() == []


def test_copies_that_are_not_taken_are_removed_when_they_are_old_or_too_many(outbox, monkeypatch):
    monkeypatch.setattr(copies, "MAX_COPIES", 3)
    wanted = BatchCopies(outbox.folder)
    wanted.folder.mkdir()
    put(outbox, age=timedelta(minutes=11))
    names = [put(outbox, run=f"run{number}") for number in range(5)]
    assert wanted.names() == names[-3:]


def test_a_file_system_without_hard_links_gets_a_real_copy(outbox, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    wanted = BatchCopies(outbox.folder)
    wanted.folder.mkdir()
    assert len(wanted.take(put(outbox))) == 1


def test_a_copy_that_cannot_be_made_does_not_disturb_the_poll(outbox):
    (outbox.folder / copies.FOLDER).write_text("a file in place of the folder")
    put(outbox)


def test_a_damaged_copy_is_reported_and_removed(outbox):
    wanted = BatchCopies(outbox.folder)
    wanted.folder.mkdir()
    (wanted.folder / "x.points").write_bytes(b"damaged")
    with pytest.raises(DamagedFileError):
        wanted.take("x.points")
    assert wanted.names() == []
