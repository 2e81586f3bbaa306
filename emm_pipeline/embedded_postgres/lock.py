"""One server per data folder: a lock that the kernel lets go of, however its holder ends."""

from __future__ import annotations

import fcntl
import os
from typing import IO, TYPE_CHECKING

from emm_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path


def lock_folder(data_dir: Path) -> IO[str]:
    """Hold the data folder for this process, by a file beside it.

    Raises:
        ConfigurationError: another process holds it.
    """
    path = _lock_path(data_dir)
    while True:
        lock = path.open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as err:
            lock.close()
            raise ConfigurationError(f"{data_dir} is in use: another process runs its PostgreSQL server") from err
        if path.exists() and path.stat().st_ino == os.fstat(lock.fileno()).st_ino:
            return lock
        lock.close()  # its last holder removed it between our opening and our locking


def unlock_folder(data_dir: Path, lock: IO[str]) -> None:
    """Let go of the folder, and leave no file behind."""
    _lock_path(data_dir).unlink(missing_ok=True)
    lock.close()


def _lock_path(data_dir: Path) -> Path:
    return data_dir.with_name(f".{data_dir.name}.lock")
