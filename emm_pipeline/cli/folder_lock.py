"""A lock that only one process holds per folder."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from emm_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def folder_lock(folder: Path, taken: str) -> Iterator[None]:
    """Hold the lock of an existing folder. The kernel releases it when this process ends, however it ends.

    Args:
        folder: the folder.
        taken: the error message if another process holds its lock.

    Raises:
        ConfigurationError: another process holds the lock.
        OSError: the folder cannot be opened.
    """
    fd = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(taken) from None
        yield
    finally:
        os.close(fd)
