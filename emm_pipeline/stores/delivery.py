"""Points on their way: into the outbox, into the store, and out of the outbox; and later what had to wait there.

The same series and time again overwrites itself in both stores, so a batch that is sent until it is acknowledged is in
the store exactly once.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emm_pipeline.errors import OutboxError, StoreAccessError, StoreError
from emm_pipeline.stores.outbox.batch import Batch
from emm_pipeline.stores.outbox.file import DamagedFileError
from emm_pipeline.stores.points import listed, number_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from emm_pipeline.stores.base import ReadingsStore, RejectedPoint
    from emm_pipeline.stores.outbox.folder import Outbox, OutboxFile

RETRIED_FOR_S = 15.0
"""How long a sample tries at most: what is not in the store then waits for the replay, and its run can end."""
LEAST_TIME_S = 5.0
"""How long the store has at least, also where reading has used up the sample's time."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 4.0


@dataclass(frozen=True, slots=True)
class Loaded:
    """What became of a sample's points. Without problems, all but the refused ones are in the store.

    `problems` are of one line each. `lost`: the points are neither in the store nor in the outbox.
    """

    refused: Sequence[RejectedPoint] = ()
    problems: tuple[str, ...] = ()
    lost: bool = False


@dataclass(slots=True)
class Replayed:
    """What a replay did. `error` is why it stopped early; `busy` files are being loaded by another process."""

    files: int = 0
    points: int = 0
    refused: list[RejectedPoint] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    busy: int = 0
    error: str | None = None

    @property
    def problems(self) -> list[str]:
        """What a person must know of, one line each."""
        refused = listed(refusal.reason for refusal in self.refused)
        return [
            *([f"{self.error}; the rest waits in the outbox"] if self.error else []),
            *(
                [f"{number_of(len(self.refused), 'point')} refused, kept in the folder rejected: {refused}"]
                if refused
                else []
            ),
            *self.damaged,
        ]


class Delivery:
    """The way of points into a store, by way of an outbox.

    Args:
        store: where they go.
        outbox: where they are first, and stay while the store does not take them.
    """

    def __init__(self, store: ReadingsStore, outbox: Outbox) -> None:
        self.store = store
        self.outbox = outbox

    def put(self, lines: Sequence[str], read_at: datetime, run: str) -> Batch:
        """Put points into the outbox, as a file that is on disk when this returns; this process holds it.

        Args:
            lines: line protocol, at least one.
            read_at: when the fleet reading began; UTC.
            run: who read it, unique with `read_at`.

        Raises:
            OutboxError: it could not be written.
        """
        return self.outbox.put(lines, read_at, run)

    def claim(self, name: str) -> Batch | None:
        """Hold a batch of the outbox; None if another process holds it or has loaded it.

        Raises:
            OutboxError: the file cannot be opened.
        """
        return self.outbox.claim(name)

    def load(self, points: Batch | Sequence[str], *, until: float) -> Loaded:
        """Load points into the store; a batch leaves the outbox once the store has acknowledged it.

        Args:
            points: a batch that this process holds, which it then lets go of; or points that the outbox cannot take.
            until: when the time for it ends, by `time.monotonic()`.
        """
        if not isinstance(points, Batch):
            return self._load_unsafely(points, until)
        problems: list[str] = []
        with points as batch:
            with _collected(problems):
                problems += _what_was_dropped(self.outbox.trim())
            try:
                lines = batch.lines()
                refused = write_with_retries(self.store, lines, until)
            except OutboxError as err:
                return Loaded(problems=(*problems, str(err)))
            except DamagedFileError as err:
                batch.set_aside()
                return Loaded(problems=(*problems, str(err)))
            except StoreError as err:
                problems.append(f"{err}; waiting in the outbox: {number_of(len(lines), 'point')}")
                with _collected(problems):
                    self.outbox.note_error(str(err))
                return Loaded(problems=tuple(problems))
            with _collected(problems):
                batch.settle(refused)
        return Loaded(refused, tuple(problems))

    def _load_unsafely(self, lines: Sequence[str], until: float) -> Loaded:
        try:
            return Loaded(write_with_retries(self.store, lines, until))
        except StoreError as err:
            return Loaded(problems=(f"{err}; lost: {number_of(len(lines), 'point')}",), lost=True)

    def replay(self, on_file: Callable[[], None] = lambda: None) -> Replayed:
        """Load what waits, oldest first, and stop as soon as the store is away. Safe beside polls and other replays.

        Raises:
            OutboxError: the outbox's folder cannot be read or written.
        """
        done = Replayed()
        for name in self.outbox.names():
            batch = self.outbox.claim(name)
            if batch is None:
                done.busy += 1
                continue
            with batch:
                try:
                    lines = batch.lines()
                    refused = self.store.write(lines)
                except DamagedFileError as err:
                    batch.set_aside()
                    done.damaged.append(str(err))
                    continue
                except StoreError as err:
                    self.outbox.note_error(str(err))
                    done.error = str(err)
                    break
                batch.settle(refused)
            done.files += 1
            done.points += len(lines) - len(refused)
            done.refused += refused
            on_file()
        return done


def write_with_retries(store: ReadingsStore, lines: Sequence[str], until: float) -> list[RejectedPoint]:
    """Write, and again after a pause while there is time and the failure is of the kind that passes by itself.

    Raises:
        StoreError: the last attempt's.
    """
    now = time.monotonic()
    until = max(min(until, now + RETRIED_FOR_S), now + LEAST_TIME_S)
    pause = FIRST_PAUSE_S
    while True:
        try:
            return store.write(lines, until=until)
        except StoreAccessError:
            raise
        except StoreError as err:
            wait = max(pause, err.retry_after_s)
            if time.monotonic() + wait >= until:
                raise
            time.sleep(wait)
            pause = min(2 * pause, LONGEST_PAUSE_S)


def _what_was_dropped(files: Sequence[OutboxFile]) -> list[str]:
    if not files:
        return []
    points = sum(file.points for file in files)
    span = f"from {files[0].name} to {files[-1].name}"
    lost = f"its oldest {number_of(len(files), 'file')} with {number_of(points, 'point')}"
    return [f"the outbox is full (OUTBOX_MAX_MB): lost are {lost}, {span}"]


@contextmanager
def _collected(problems: list[str]) -> Iterator[None]:
    """What goes wrong with the outbox is said, and keeps nothing from the store."""
    try:
        yield
    except OutboxError as err:
        problems.append(str(err))
