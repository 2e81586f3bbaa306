"""Take the batches that polls hand over, as soon as they are on the disk, in a thread of its own."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from emm_pipeline.stores.outbox.file import DamagedFileError

if TYPE_CHECKING:
    from collections.abc import Callable

    from emm_pipeline.stores.outbox.copies import BatchCopies
    from emm_pipeline.stores.points import PointBatch

LOOK_EVERY_S = 0.5

_log = logging.getLogger(__name__)


class Follower:
    """Reads copies of batches until `stop` is called.

    Args:
        copies: the page's folder of copies.
        take: called with each batch.
    """

    def __init__(self, copies: BatchCopies, take: Callable[[PointBatch], None]) -> None:
        self._copies = copies
        self._take = take
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="latest values", daemon=True)
        self.problem: str | None = None
        """Why no values come; None while the folder can be read."""

    def start(self) -> None:
        """Create the folder, so that the next poll hands over its values, and start the thread."""
        self.look()
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread, and wait for its end."""
        self._stopped.set()
        self._thread.join()

    def look(self) -> None:
        """Take the batches that are there now."""
        try:
            names = self._copies.names()
        except OSError as err:
            self.problem = f"{self._copies.folder} cannot be read: {err.strerror or err}"
            with suppress(OSError):  # a person may have deleted it
                self._copies.folder.mkdir(parents=True, exist_ok=True)
                self.problem = None
            return
        for name in names:
            try:
                self._take(self._copies.take(name))
            except (DamagedFileError, OSError) as err:  # a poll removes what is too old
                _log.warning("values of %s are not shown: %s", name, err)
        self.problem = None

    def _run(self) -> None:
        while not self._stopped.wait(LOOK_EVERY_S):
            self.look()
