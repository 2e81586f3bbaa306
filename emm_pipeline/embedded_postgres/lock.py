"""A lock that allows one server per data folder. The kernel releases it when its holder ends or is killed."""

from __future__ import annotations

import fcntl
import os
from typing import IO, TYPE_CHECKING

from emm_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path


def lock_folder(data_dir: Path) -> IO[str]:
    """Lock the data folder for this process, with a lock file beside it.

    Raises:
        ConfigurationError: Another process has locked it.
    """
    path = _lock_path(data_dir)
    while True:
        lock = path.open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as err:
            lock.close()
            raise ConfigurationError(f"{data_dir} is in use: another process runs a PostgreSQL server on it") from err
        if path.exists() and path.stat().st_ino == os.fstat(lock.fileno()).st_ino:
            return lock
        lock.close()  # the previous holder removed the file before it was locked here


def unlock_folder(data_dir: Path, lock: IO[str]) -> None:
    """Release the lock and delete the lock file."""
    _lock_path(data_dir).unlink(missing_ok=True)
    lock.close()


def _lock_path(data_dir: Path) -> Path:
    return data_dir.with_name(f".{data_dir.name}.lock")
