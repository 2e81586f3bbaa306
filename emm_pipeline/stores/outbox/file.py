"""Files that survive a crash: they are written with fsync under a temporary name, then renamed."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

TEMPORARY_SUFFIX = ".tmp"


class DamagedFileError(ValueError):
    """A file that is damaged or was written by a later version; the message names the file and the reason."""


def make_folder(folder: Path) -> None:
    """Create a folder durably, unless it exists."""
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        _sync_folder(folder.parent)


def create_durably(path: Path, content: bytes) -> int:
    """Write a file under a temporary name, sync it to disk, and rename it; return a descriptor that holds its lock.

    Raises:
        OSError: the file could not be written; no part of it is left.
    """
    temporary = path.with_name(f".{path.name}{TEMPORARY_SUFFIX}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
    try:
        # Lock the file before it is renamed, so that no other process finds it unlocked.
        fcntl.flock(fd, fcntl.LOCK_EX)
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view) :]
        os.fsync(fd)
        temporary.rename(path)
        _sync_folder(path.parent)
    except BaseException:
        os.close(fd)
        temporary.unlink(missing_ok=True)
        raise
    return fd


def _sync_folder(folder: Path) -> None:
    """Sync the folder's entries to disk."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def lock(path: Path) -> int | None:
    """Return a descriptor that holds the file's lock; None if another process holds it, or if the file does not exist.

    Raises:
        OSError: the file cannot be opened.
    """
    try:
        fd = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_open_at(path, fd):  # otherwise another process loaded and removed it before it was locked here
            return fd
    except BlockingIOError:
        pass
    os.close(fd)
    return None


def _is_open_at(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except FileNotFoundError:
        return False
