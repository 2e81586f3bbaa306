"""Copies of the outbox's batches, for processes that use values as soon as they are on the disk.

Each has a folder in the outbox: `mqtt` for the publisher, `web` for the web page. It exists once the process has been
started. A poll puts a second name (a hard link) for its batch into it, which takes microseconds and no space, and never
waits for the process. The process removes what it has read. If it does not run, polls remove copies that are too old,
so the folder does not grow.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from emm_pipeline.stores.outbox import kinds

if TYPE_CHECKING:
    from pathlib import Path

    from emm_pipeline.stores.points import PointBatch

FOLDER = "mqtt"
WEB_FOLDER = "web"
FOLDERS = (FOLDER, WEB_FOLDER)
"""The folders, in the outbox, of the processes that use copies."""

KEPT_FOR = timedelta(minutes=10)
"""Age of a reading after which its copy is removed."""
MAX_COPIES = 2000
"""Maximum number of copies; a fleet with one run per meter makes 1000 a minute."""

_TIME = "%Y%m%dT%H%M%S"
"""Pattern of the beginning of a batch's name, to the second."""


class BatchCopies:
    """The copies in the outbox at `outbox_folder`, in one of FOLDERS."""

    def __init__(self, outbox_folder: Path, name: str = FOLDER) -> None:
        self.folder = outbox_folder / name

    def add(self, batch: Path) -> None:
        """Add a copy of a batch if the process wants one. Errors are ignored: they must not disturb a poll."""
        copy = self.folder / batch.name
        with suppress(OSError):
            try:
                os.link(batch, copy)
            except FileNotFoundError:  # the process was never started
                return
            except OSError:  # a file system without hard links
                temporary = copy.with_suffix(".tmp")
                shutil.copyfile(batch, temporary)
                temporary.rename(copy)
            self._trim()

    def names(self) -> list[str]:
        """Return the names of all copies, oldest first.

        Raises:
            OSError: the folder cannot be read.
        """
        return sorted(name for name in os.listdir(self.folder) if name.endswith(kinds.SUFFIX))  # noqa: PTH208 - faster

    def take(self, name: str) -> PointBatch:
        """Return the points of a copy, and remove it in any case.

        Raises:
            DamagedFileError: the file is damaged.
            OSError: the file cannot be read.
        """
        path = self.folder / name
        try:
            return kinds.read_batch(path)
        finally:
            path.unlink(missing_ok=True)

    def _trim(self) -> None:
        names = self.names()
        oldest = f"{datetime.now(UTC) - KEPT_FOR:{_TIME}}"
        for name in [*(name for name in names if name < oldest), *names[:-MAX_COPIES]]:
            (self.folder / name).unlink(missing_ok=True)


def hand_over(outbox_folder: Path, name: str) -> None:
    """Add a copy of a batch to the folder of each process that uses copies."""
    for folder in FOLDERS:
        BatchCopies(outbox_folder, folder).add(outbox_folder / name)
