"""The way of points: into the outbox, from there into the store, and out of the outbox; and what had to wait there.

The same point written again replaces itself in both stores, so a batch that is sent until it is acknowledged is in the
store exactly once, whichever process sends it.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emm_pipeline.errors import OutboxError, StoreAccessError, StoreError
from emm_pipeline.stores.outbox.batch import Batch
from emm_pipeline.stores.outbox.file import DamagedFileError
from emm_pipeline.stores.texts import listed, number_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from emm_pipeline.stores.base import ReadingsStore, RejectedPoints
    from emm_pipeline.stores.outbox.folder import Outbox, OutboxFile
    from emm_pipeline.stores.points import PointBatch

RETRIED_FOR_S = 15.0
"""How long a batch is tried at most: what is not in the store then waits for the replay, and its run can end."""
LEAST_TIME_S = 5.0
"""How long the store has at least, also where reading has used up all the time."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 4.0


@dataclass(frozen=True, slots=True)
class Loaded:
    """What became of a batch. Without problems, all but the rejected points are in the store.

    `problems` are of one line each. `lost`: the points are neither in the store nor in the outbox.
    """

    rejected: Sequence[RejectedPoints] = ()
    problems: tuple[str, ...] = ()
    lost: bool = False

    def rejected_by_meter(self) -> dict[int, str]:
        """Return by meter id how many of its points the store rejected, and why it rejected the first."""
        reasons: dict[int, list[str]] = {}
        for each in self.rejected:
            for meter_id in each.points.meter_ids():
                reasons.setdefault(meter_id, []).append(each.reason)
        return {
            meter_id: f"the store rejected {number_of(len(of_meter), 'point')} (kept in the outbox's folder rejected): "
            f"{of_meter[0]}"
            for meter_id, of_meter in reasons.items()
        }


@dataclass(slots=True)
class Replayed:
    """What a replay did. `error` is why it stopped early; `busy` files are being loaded by another process."""

    files: int = 0
    points: int = 0
    rejected: list[RejectedPoints] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    busy: int = 0
    error: str | None = None

    @property
    def problems(self) -> list[str]:
        """What a person must know of, one line each."""
        problems = [f"{self.error}; the rest waits in the outbox"] if self.error else []
        if self.rejected:
            count = number_of(count_points(self.rejected), "point")
            reasons = listed(each.reason for each in self.rejected)
            problems.append(f"the store rejected {count}, kept in the folder rejected: {reasons}")
        return [*problems, *self.damaged]


class Delivery:
    """The way of points into a store, by way of an outbox.

        batch = delivery.put(points, read_at, run)   # on disk, and held by this process
        loaded = delivery.load(batch, until=...)     # in the store, or waiting in the outbox

    Another step or process may do the second: `batch.name` names the batch, `batch.close()` releases it, and
    `claim(name)` holds it there.

    Args:
        store: where they go.
        outbox: where they are first, and stay while the store does not take them.
    """

    def __init__(self, store: ReadingsStore, outbox: Outbox) -> None:
        self.store = store
        self.outbox = outbox

    def put(self, points: PointBatch, read_at: datetime, run: str) -> Batch:
        """Write points to the outbox; they are on the disk when this returns. The store is not contacted.

        Args:
            points: at least one.
            read_at: when reading began; UTC.
            run: who read them, unique with `read_at`.

        Raises:
            OutboxError: they could not be written. `load(points)` tries the store without the outbox.
        """
        return self.outbox.put(points, read_at, run)

    def claim(self, name: str) -> Batch | None:
        """Hold a batch that waits in the outbox.

        Returns:
            None where there is nothing to do: it has been loaded, or another process is loading it.

        Raises:
            OutboxError: the file cannot be opened.
        """
        return self.outbox.claim(name)

    def load(self, points: Batch | PointBatch, *, until: float) -> Loaded:
        """Write points into the store, again and again while there is time; a batch leaves the outbox after that.

        Args:
            points: a batch of the outbox, which is released at the end; or points that could not be put there.
            until: when their time ends, by `time.monotonic()`.
        """
        if isinstance(points, Batch):
            with points:
                return self._load(points, until)
        return self._load_unsafely(points, until)

    def _load(self, batch: Batch, until: float) -> Loaded:
        problems: list[str] = []
        with _collected(problems):
            problems += _what_was_dropped(self.outbox.trim())
        try:
            points = batch.points()
        except DamagedFileError as err:
            with _collected(problems):
                batch.set_aside()
            return Loaded(problems=(*problems, str(err)), lost=True)
        except OutboxError as err:
            return Loaded(problems=(*problems, str(err)))
        try:
            rejected = write_with_retries(self.store, points, until)
        except StoreError as err:
            problems.append(f"{err}; waiting in the outbox: {number_of(len(points), 'point')}")
            with _collected(problems):
                self.outbox.note_error(str(err))
            return Loaded(problems=tuple(problems))
        with _collected(problems):
            batch.settle(rejected)
        return Loaded(rejected, tuple(problems))

    def _load_unsafely(self, points: PointBatch, until: float) -> Loaded:
        if not len(points):
            return Loaded()
        try:
            return Loaded(write_with_retries(self.store, points, until))
        except StoreError as err:
            return Loaded(problems=(f"{err}; lost: {number_of(len(points), 'point')}",), lost=True)

    def replay(self, on_file: Callable[[], None] = lambda: None) -> Replayed:
        """Load what waits, oldest first, and stop as soon as the store is unavailable. Safe beside polls and other replays.

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
                    points = batch.points()
                    rejected = self.store.write(points)
                except DamagedFileError as err:
                    batch.set_aside()
                    done.damaged.append(str(err))
                    continue
                except StoreError as err:
                    self.outbox.note_error(str(err))
                    done.error = str(err)
                    break
                batch.settle(rejected)
            done.files += 1
            done.points += len(points) - count_points(rejected)
            done.rejected += rejected
            on_file()
        return done


def count_points(rejected: Iterable[RejectedPoints]) -> int:
    """Return how many points were rejected."""
    return sum(len(each.points) for each in rejected)


def write_with_retries(store: ReadingsStore, points: PointBatch, until: float) -> list[RejectedPoints]:
    """Write, and again after a pause while there is time and the failure is of the kind that passes by itself.

    Raises:
        StoreError: the last attempt's.
    """
    now = time.monotonic()
    until = max(min(until, now + RETRIED_FOR_S), now + LEAST_TIME_S)
    pause = FIRST_PAUSE_S
    while True:
        try:
            return store.write(points, until=until)
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
    """Report errors of the outbox without preventing the write."""
    try:
        yield
    except OutboxError as err:
        problems.append(str(err))
