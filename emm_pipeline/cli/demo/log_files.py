"""Limits the size of log files that a running process writes.

The file is emptied in place, because the process keeps it open. It must have been opened for appending.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES = 10_000_000
"""Size in bytes from which a log file is emptied."""


def rotate(log: Path, max_bytes: int = MAX_BYTES) -> bool:
    """Copy a log file that is larger than `max_bytes` to `<name>.1`, empty it, and return True; otherwise return False.

    Lines that the process writes between the copy and the emptying are lost. A file that does not exist is ignored.

    Raises:
        OSError: the copy could not be written; then the file is emptied nevertheless.
    """
    try:
        status = log.stat()
    except FileNotFoundError:
        return False
    if status.st_size <= max_bytes:
        return False
    copy = log.with_name(f"{log.name}.1")
    try:
        shutil.copyfile(log, copy)
        os.chown(copy, status.st_uid, status.st_gid)
    finally:
        os.truncate(log, 0)
    return True
