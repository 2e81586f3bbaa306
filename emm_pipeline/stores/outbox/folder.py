"""The outbox: a folder with every batch of points that the store has not acknowledged yet, one file per fleet reading.

`put` writes a batch with fsync, under a temporary name, and renames it; the names sort oldest first. A process that
works on a batch holds its lock (flock) from before the renaming until the file is removed. Therefore a poll and any
number of replays do not disturb each other, and the kernel releases the locks of a killed process.

Points that a store rejects are kept in the folder `rejected`, as text, with the reason.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from emm_pipeline.errors import ConfigurationError
from emm_pipeline.stores.outbox import kinds
from emm_pipeline.stores.outbox.batch import REJECTED, Batch, outbox_errors
from emm_pipeline.stores.outbox.file import TEMPORARY_SUFFIX, DamagedFileError, create_durably, lock, make_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from emm_pipeline.stores.points import PointBatch

_READ_AT = "%Y%m%dT%H%M%S.%fZ"
"""Pattern of the beginning of a batch's name."""
_KEPT = (*kinds.REJECTED_SUFFIXES, kinds.DAMAGED_SUFFIX)
"""Suffixes of the files in `rejected`."""
_LAST_ERROR = "last-error.txt"
_ABANDONED_S = 3600.0
"""Age after which a temporary file counts as abandoned by a process that was killed while it wrote."""
_BLOCK = 4096
"""Size of a disk block in bytes; a file takes a multiple of it."""


@dataclass(frozen=True, slots=True)
class OutboxFile:
    """Description of a file: a batch that waits, or rejected points with their reason. `size` is in bytes."""

    name: str
    points: int
    size: int
    reason: str | None = None


@dataclass(slots=True)
class PutBack:
    """The result of putting back rejected points; `problems` are one line each."""

    files: int = 0
    problems: list[str] = field(default_factory=list)


class Outbox:
    """The outbox's folder, which is created at its first use.

    Args:
        folder: a path on a persistent disk.
        max_bytes: maximum size of all its files, including rejected points; one batch is always accepted.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder
        self.rejected_folder = folder / REJECTED
        self._max_bytes = max_bytes

    def put(self, points: PointBatch, read_at: datetime, run: str) -> Batch:
        """Write a batch durably, and lock it.

        Args:
            points: at least one.
            read_at: the start time of the reading (UTC).
            run: name of the run, unique together with `read_at`; a part of the file's name.

        Raises:
            OutboxError: the batch could not be written.
        """
        path = self.folder / f"{read_at.astimezone(UTC):{_READ_AT}}-{run}{kinds.SUFFIX}"
        content = kinds.pack_batch(points, run)
        with outbox_errors(self.folder):
            make_folder(self.folder)
            return Batch(path, create_durably(path, content), points)

    def names(self) -> list[str]:
        """Return the names of the batches that wait or are being loaded, oldest first.

        Raises:
            OutboxError: the folder cannot be read.
        """
        with outbox_errors(self.folder):
            return _names(self.folder, kinds.SUFFIXES)

    def waiting_since(self) -> datetime | None:
        """Return the reading time (UTC) of the oldest batch that waits or is being loaded; None if there is none."""
        names = self.names()
        return datetime.strptime(names[0].partition("-")[0], _READ_AT).replace(tzinfo=UTC) if names else None

    def has_waiting(self) -> bool:
        """Whether there is a batch that no process is loading. This is fast if there is none."""
        for name in self.names():
            if batch := self.claim(name):
                batch.close()
                return True
        return False

    def claim(self, name: str) -> Batch | None:
        """Lock a batch; return None if another process has locked it or it no longer exists.

        Raises:
            OutboxError: the file cannot be opened.
        """
        path = self.folder / name
        with outbox_errors(self.folder):
            fd = lock(path)
        return None if fd is None else Batch(path, fd)

    def trim(self) -> list[OutboxFile]:
        """Remove the oldest files while the folder is too large; batches that are being loaded are kept.

        Returns:
            The removed files, whose points are lost.

        Raises:
            OutboxError: the folder cannot be read or written.
        """
        dropped: list[OutboxFile] = []
        with outbox_errors(self.folder):
            entries = [*_entries(self.folder), *_entries(self.rejected_folder)]
            _remove_abandoned(entries)
            excess = sum(map(_size, entries)) - self._max_bytes
            for entry in sorted(entries, key=lambda entry: entry.name):
                if excess <= 0:
                    break
                if entry.name.endswith(kinds.SUFFIXES):
                    batch = self.claim(entry.name)
                    if batch:
                        with batch:
                            dropped.append(_describe(entry))
                            batch.remove()
                elif entry.name.endswith(_KEPT):
                    with suppress(FileNotFoundError):  # put back, or removed by another process
                        described = _describe(entry)
                        Path(entry.path).unlink()
                        dropped.append(described)
                if not Path(entry.path).exists():
                    excess -= _size(entry)
        return dropped

    def waiting(self) -> list[OutboxFile]:
        """Return the batches that wait or are being loaded, oldest first."""
        return self._files(self.folder, kinds.SUFFIXES)

    def rejected(self) -> list[OutboxFile]:
        """Return the files with rejected points and the damaged files, oldest first."""
        return self._files(self.rejected_folder, _KEPT)

    def read(self, name: str) -> PointBatch:
        """Return the points of a batch or of a file with rejected points, without changing it.

        Raises:
            ConfigurationError: there is no such file.
            DamagedFileError: the file is damaged.
            OutboxError: the disk does not return its content.
        """
        places = (
            (self.folder, kinds.SUFFIXES, kinds.read_batch),
            (self.rejected_folder, kinds.REJECTED_SUFFIXES, kinds.read_rejected),
        )
        with outbox_errors(self.folder):
            for folder, suffixes, read in places:
                if name in _names(folder, suffixes):
                    return read(folder / name)
        raise ConfigurationError(f"{self.folder} has no batch and no rejected points with the name {name!r}")

    def put_back_rejected(self) -> PutBack:
        """Move rejected points back into the outbox, after the cause has been corrected.

        Raises:
            OutboxError: a file could not be read or written.
        """
        done = PutBack()
        with outbox_errors(self.folder):
            for name in _names(self.rejected_folder, kinds.REJECTED_SUFFIXES):
                path = self.rejected_folder / name
                fd = lock(path)
                if fd is None:  # another process is putting it back
                    continue
                try:
                    self._put_back(path)
                    done.files += 1
                except DamagedFileError as err:
                    done.problems.append(f"{err}; it stays in {self.rejected_folder}")
                finally:
                    os.close(fd)
        return done

    def _put_back(self, path: Path) -> None:
        # A new name, because a process that still has the old batch locked would delete the file.
        stem = f"{kinds.stem_of(path.name)}-again"
        content = kinds.pack_batch(kinds.read_rejected(path), stem)
        os.close(create_durably(self.folder / f"{stem}{kinds.SUFFIX}", content))
        path.unlink()

    def note_error(self, error: str) -> None:
        """Record the last reason why a batch waits, for `emm outbox`."""
        with outbox_errors(self.folder):
            (self.folder / _LAST_ERROR).write_text(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC: {error}\n")

    def last_error(self) -> str | None:
        """Return the last reason why a batch had to wait, with its time."""
        try:
            return (self.folder / _LAST_ERROR).read_text(errors="replace").strip() or None
        except OSError:
            return None

    def _files(self, folder: Path, suffixes: tuple[str, ...]) -> list[OutboxFile]:
        with outbox_errors(self.folder):
            found = sorted(_entries(folder), key=lambda entry: entry.name)
            return [_describe(entry) for entry in found if entry.name.endswith(suffixes)]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if entry.is_file()]
    except FileNotFoundError:
        return []


def _names(folder: Path, suffixes: tuple[str, ...]) -> list[str]:
    return sorted(entry.name for entry in _entries(folder) if entry.name.endswith(suffixes))


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return -(-entry.stat().st_size // _BLOCK) * _BLOCK
    except FileNotFoundError:  # loaded in the meantime
        return 0


def _describe(entry: os.DirEntry[str]) -> OutboxFile:
    path = Path(entry.path)
    if entry.name.endswith(kinds.SUFFIXES):
        return OutboxFile(entry.name, kinds.count_batch(path), _size(entry))
    points, reason = kinds.describe_rejected(path)
    return OutboxFile(entry.name, points, _size(entry), reason)


def _remove_abandoned(entries: Sequence[os.DirEntry[str]]) -> None:
    oldest = time.time() - _ABANDONED_S
    for entry in entries:
        if entry.name.endswith(TEMPORARY_SUFFIX):
            with suppress(FileNotFoundError):  # its process has just renamed it
                if entry.stat().st_mtime < oldest:
                    Path(entry.path).unlink()
