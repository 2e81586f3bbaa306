"""A batch in the outbox that this process has locked, and the operations on it."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from emm_pipeline.errors import OutboxError
from emm_pipeline.stores.outbox import kinds
from emm_pipeline.stores.outbox.file import create_durably, make_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    from emm_pipeline.stores.base import RejectedPoints
    from emm_pipeline.stores.points import PointBatch

REJECTED = "rejected"
"""Folder below the outbox's own for rejected points and damaged files, which are not loaded automatically."""


@contextmanager
def outbox_errors(path: Path) -> Iterator[None]:
    """Turn an OSError inside the block into an OutboxError that names the path and says what to check."""
    try:
        yield
    except OSError as err:
        reason = err.strerror or str(err)
        raise OutboxError(
            f"outbox {path}: {reason} (OUTBOX_DIR names it: is it writable, and the disk not full?)"
        ) from err


class Batch:
    """A batch that this process has locked; a context manager that releases it at its end.

    Args:
        path: its file.
        fd: a descriptor of that file, which holds the lock.
        points: the points in the file, if they are known.
    """

    def __init__(self, path: Path, fd: int, points: PointBatch | None = None) -> None:
        self._path = path
        self._rejected = path.parent / REJECTED
        self._fd: int | None = fd
        self._points = points

    @property
    def name(self) -> str:
        """The name of its file, with which another process can claim it."""
        return self._path.name

    def points(self) -> PointBatch:
        """Return its points.

        Raises:
            DamagedFileError: the file cannot be read back.
            OutboxError: the disk does not return the file's content.
        """
        if self._points is None:
            with outbox_errors(self._path):
                self._points = kinds.read_batch(self._path)
        return self._points

    def settle(self, rejected_points: Sequence[RejectedPoints]) -> None:
        """Remove the batch after loading; write the points that the store rejected to the folder `rejected` first.

        Raises:
            OutboxError: a file could not be written or removed. The batch will be loaded again, which is harmless.
        """
        if rejected_points:
            with outbox_errors(self._rejected):
                make_folder(self._rejected)
                name = kinds.stem_of(self.name) + kinds.REJECTED_SUFFIX
                os.close(create_durably(self._rejected / name, kinds.pack_rejected(rejected_points)))
        self.remove()

    def set_aside(self) -> None:
        """Move a damaged file to `rejected`, so that it does not stop the others from being loaded."""
        with outbox_errors(self._rejected):
            make_folder(self._rejected)
            self._path.rename(self._rejected / f"{self.name}{kinds.DAMAGED_SUFFIX}")

    def remove(self) -> None:
        """Delete the file, without fsync: if a power failure restores it, it is loaded again, which is harmless."""
        with outbox_errors(self._path):
            self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Release the file, so that another process can claim it. A second call changes nothing."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
