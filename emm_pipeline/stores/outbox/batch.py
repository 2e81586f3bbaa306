"""A batch of the outbox, held by this process: what can become of it."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from emm_pipeline.errors import OutboxError
from emm_pipeline.stores.outbox.file import create_durably, make_folder, unpack, with_reasons

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    from emm_pipeline.stores.base import RejectedPoint

SUFFIX = ".lp.gz"
REJECTED = "rejected"
REJECTED_SUFFIX = ".rejected.lp"
DAMAGED_SUFFIX = ".damaged"


@contextmanager
def outbox_errors(path: Path) -> Iterator[None]:
    """Turn an OSError inside the block into an OutboxError that names the place and what to look at."""
    try:
        yield
    except OSError as err:
        reason = err.strerror or str(err)
        raise OutboxError(
            f"outbox {path}: {reason} (OUTBOX_DIR names it: is it writable, and the disk not full?)"
        ) from err


class Batch:
    """A batch that this process holds; a context manager that lets go of it, wherever it is then."""

    def __init__(self, path: Path, fd: int) -> None:
        self._path = path
        self._rejected = path.parent / REJECTED
        self._fd = fd

    @property
    def name(self) -> str:
        """Its file's name."""
        return self._path.name

    def lines(self) -> list[str]:
        """Return its points.

        Raises:
            DamagedFileError: the file cannot be read back.
            OutboxError: the disk does not give it.
        """
        with outbox_errors(self._path):
            content = self._path.read_bytes()
        return unpack(content, self.name)

    def settle(self, refused: Sequence[RejectedPoint]) -> None:
        """Remove the batch: the store has it all, but for the refused lines, which are kept in `rejected` first.

        Raises:
            OutboxError: that could not be done; the batch will be loaded again, which changes nothing in the store.
        """
        if refused:
            with outbox_errors(self._rejected):
                make_folder(self._rejected)
                name = self.name.removesuffix(SUFFIX) + REJECTED_SUFFIX
                os.close(create_durably(self._rejected / name, with_reasons(refused)))
        self.remove()

    def set_aside(self) -> None:
        """Move a file that cannot be read back out of the way of the others."""
        with outbox_errors(self._rejected):
            make_folder(self._rejected)
            self._path.rename(self._rejected / f"{self.name}{DAMAGED_SUFFIX}")

    def remove(self) -> None:
        """Delete the file. Not waited for: should a power cut bring it back, it is loaded once more."""
        with outbox_errors(self._path):
            self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
