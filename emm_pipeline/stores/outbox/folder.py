"""The outbox: a folder with every batch of points that no store has acknowledged yet, one file per sample and shard.

`put` writes a batch with fsync, under a temporary name, and renames it; the names sort oldest first. Who works on a
batch holds its lock (flock), from before it gets its name until it is gone: a poll that loads its own batch and any
number of replays leave each other alone, and the kernel frees what a killed process held.

What a store will never take is kept in the folder `rejected`, as text: the reason as a comment above the points.
"""

from __future__ import annotations

import fcntl
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from emm_pipeline.stores.outbox.batch import DAMAGED_SUFFIX, REJECTED, REJECTED_SUFFIX, SUFFIX, Batch, outbox_errors
from emm_pipeline.stores.outbox.file import (
    TEMPORARY_SUFFIX,
    create_durably,
    make_folder,
    pack,
    read_points,
    read_reasons,
    read_refused,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

_READ_AT = "%Y%m%dT%H%M%S.%fZ"
"""With what a batch's name begins."""
_LAST_ERROR = "last-error.txt"
_ABANDONED_S = 3600.0
"""A temporary file that is older belongs to a process that was killed while it wrote."""
_BLOCK = 4096
"""What a file takes on disk is a multiple of it."""


@dataclass(frozen=True, slots=True)
class OutboxFile:
    """A file as a person sees it: what waits, or (with its reason) what was rejected. `size` is in bytes."""

    name: str
    points: int
    size: int
    reason: str | None = None


class Outbox:
    """A folder, made at its first use.

    Args:
        folder: on a disk that outlives the process and the machine's power.
        max_bytes: how much it may hold, what was rejected included; one batch is always taken.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder
        self.rejected_folder = folder / REJECTED
        self._max_bytes = max_bytes

    def put(self, lines: Sequence[str], read_at: datetime, run: str) -> Batch:
        """Write a batch durably, and hold it.

        Args:
            lines: line protocol, at least one.
            read_at: when the sample began; UTC.
            run: who read it, unique with `read_at`; a part of the file's name.

        Raises:
            OutboxError: it could not be written.
        """
        path = self.folder / f"{read_at.astimezone(UTC):{_READ_AT}}-{run}{SUFFIX}"
        with outbox_errors(self.folder):
            make_folder(self.folder)
            return Batch(path, create_durably(path, pack(lines, run)))

    def names(self) -> list[str]:
        """Return the names of the batches that wait or are being loaded, oldest first.

        Raises:
            OutboxError: the folder cannot be read.
        """
        with outbox_errors(self.folder):
            return sorted(entry.name for entry in _entries(self.folder) if entry.name.endswith(SUFFIX))

    def waiting_since(self) -> datetime | None:
        """Return when the oldest batch was read (UTC) that waits or is being loaded; None where there is none."""
        names = self.names()
        return datetime.strptime(names[0].partition("-")[0], _READ_AT).replace(tzinfo=UTC) if names else None

    def has_waiting(self) -> bool:
        """Whether there is a batch that no process is loading. Cheap where there is none."""
        for name in self.names():
            if batch := self.claim(name):
                batch.close()
                return True
        return False

    def claim(self, name: str) -> Batch | None:
        """Hold a batch; None if another process holds it, or if it is gone.

        Raises:
            OutboxError: the file cannot be opened.
        """
        path = self.folder / name
        with outbox_errors(self.folder):
            try:
                fd = os.open(path, os.O_RDWR)
            except FileNotFoundError:
                return None
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                return None
        if not _is_open_at(path, fd):  # loaded, and removed, before the lock was ours
            os.close(fd)
            return None
        return Batch(path, fd)

    def trim(self) -> list[OutboxFile]:
        """Remove the oldest files while the folder holds too much; batches that are being loaded stay.

        Returns:
            What is lost by it.

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
                if entry.name.endswith(SUFFIX):
                    batch = self.claim(entry.name)
                    if batch is None:
                        continue
                    with batch:
                        dropped.append(_describe(entry))
                        batch.remove()
                elif entry.name.endswith((REJECTED_SUFFIX, DAMAGED_SUFFIX)):
                    dropped.append(_describe(entry))
                    Path(entry.path).unlink(missing_ok=True)
                else:
                    continue
                excess -= _size(entry)
        return dropped

    def waiting(self) -> list[OutboxFile]:
        """Return what waits or is being loaded, oldest first."""
        return self._files(self.folder, SUFFIX)

    def rejected(self) -> list[OutboxFile]:
        """Return what the store will never take, and files that were damaged, oldest first."""
        return self._files(self.rejected_folder, (REJECTED_SUFFIX, DAMAGED_SUFFIX))

    def put_back_rejected(self) -> int:
        """Put what was refused into the outbox once more, for a store that takes it now; returns how many files.

        Raises:
            OutboxError: a file could not be read or written.
        """
        files = [file for file in self.rejected() if file.name.endswith(REJECTED_SUFFIX)]
        for file in files:
            # Another name than before: whoever still held the batch would delete it.
            stem = f"{file.name.removesuffix(REJECTED_SUFFIX)}-again"
            with outbox_errors(self.folder):
                lines = read_refused(self.rejected_folder / file.name)
                os.close(create_durably(self.folder / f"{stem}{SUFFIX}", pack(lines, stem)))
                (self.rejected_folder / file.name).unlink()
        return len(files)

    def note_error(self, error: str) -> None:
        """Keep the last reason why a batch waits, for `emm outbox`."""
        with outbox_errors(self.folder):
            (self.folder / _LAST_ERROR).write_text(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC: {error}\n")

    def last_error(self) -> str | None:
        """Return the last reason why a batch had to wait, with its time."""
        try:
            return (self.folder / _LAST_ERROR).read_text(errors="replace").strip() or None
        except OSError:
            return None

    def _files(self, folder: Path, suffixes: str | tuple[str, ...]) -> list[OutboxFile]:
        with outbox_errors(self.folder):
            found = sorted(_entries(folder), key=lambda entry: entry.name)
            return [_describe(entry) for entry in found if entry.name.endswith(suffixes)]


def _is_open_at(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except FileNotFoundError:
        return False


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if entry.is_file()]
    except FileNotFoundError:
        return []


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return -(-entry.stat().st_size // _BLOCK) * _BLOCK
    except FileNotFoundError:  # loaded meanwhile
        return 0


def _describe(entry: os.DirEntry[str]) -> OutboxFile:
    path = Path(entry.path)
    if entry.name.endswith(SUFFIX):
        return OutboxFile(entry.name, read_points(path), _size(entry))
    points, reason = read_reasons(path) if entry.name.endswith(REJECTED_SUFFIX) else (0, "cannot be read back")
    return OutboxFile(entry.name, points, _size(entry), reason)


def _remove_abandoned(entries: Sequence[os.DirEntry[str]]) -> None:
    oldest = time.time() - _ABANDONED_S
    for entry in entries:
        if entry.name.endswith(TEMPORARY_SUFFIX) and entry.stat().st_mtime < oldest:
            Path(entry.path).unlink(missing_ok=True)
