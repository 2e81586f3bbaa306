"""Deliver points: write them to the outbox, load them into the store, and remove them from the outbox.

In both stores, a point that is written again replaces itself. Therefore a batch that is sent until it is acknowledged
is in the store exactly once, whichever process sends it.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from emm_pipeline.errors import ConfigDatabaseError, EmmError, OutboxError, StoreAccessError, StoreError
from emm_pipeline.stores.outbox.batch import Batch
from emm_pipeline.stores.outbox.copies import hand_over
from emm_pipeline.stores.outbox.file import DamagedFileError
from emm_pipeline.stores.texts import listed, number_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from emm_pipeline.stores.base import ReadingsStore, RejectedPoints
    from emm_pipeline.stores.outbox.folder import Outbox, OutboxFile
    from emm_pipeline.stores.points import PointBatch

RETRIED_FOR_S = 15.0
"""Maximum time (s) of the attempts to load a batch. The rest then waits for the replay, and the run can end."""
LEAST_TIME_S = 5.0
"""Minimum time (s) for the store, even if reading has used up all the time."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 4.0
LATE_AFTER_S = 50.0
"""Readings that are in the store this long after their time are late: their hour may have been computed before."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The result of loading a batch. Without problems, all points except the rejected ones are in the store.

    `problems` are one line each. `lost` is true if the points are neither in the store nor in the outbox.
    """

    rejected: Sequence[RejectedPoints] = ()
    problems: tuple[str, ...] = ()
    lost: bool = False

    def rejected_by_meter(self) -> dict[int, str]:
        """Return for each meter id the number of rejected points, and the reason for the first."""
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
    """The result of a replay. `error` is the reason why it stopped early; other processes are loading `busy` files."""

    files: int = 0
    points: int = 0
    rejected: list[RejectedPoints] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    busy: int = 0
    error: str | None = None

    @property
    def problems(self) -> list[str]:
        """Messages for a person, one line each."""
        problems = [f"{self.error}; the rest waits in the outbox"] if self.error else []
        if self.rejected:
            count = number_of(count_points(self.rejected), "point")
            reasons = listed(each.reason for each in self.rejected)
            problems.append(f"the store rejected {count}, kept in the folder rejected: {reasons}")
        return [*problems, *self.damaged]


class Delivery:
    """Delivers points to a store through an outbox.

        batch = delivery.put(points, read_at, run)   # on disk, and locked by this process
        loaded = delivery.load(batch, until=...)     # in the store, or waiting in the outbox

    Another step or process may load the batch: `batch.close()` releases it, and `claim(batch.name)` locks it there.

    Args:
        store: the destination of the points.
        outbox: keeps the points until the store has accepted them.
        note_late: called with the first and last time (milliseconds) of readings that are in the store late, before
            they leave the outbox. It may raise an EmmError; then they stay there.
    """

    def __init__(
        self, store: ReadingsStore, outbox: Outbox, note_late: Callable[[int, int], None] = lambda *_: None
    ) -> None:
        self.store = store
        self.outbox = outbox
        self._note_late = note_late

    def put(self, points: PointBatch, read_at: datetime, run: str) -> Batch:
        """Write points to the outbox; they are on the disk when this returns. The store is not contacted.

        `emm mqtt` and the web page get a copy if they are in use.

        Args:
            points: at least one.
            read_at: the start time of the reading (UTC).
            run: name of the run; unique together with `read_at`.

        Raises:
            OutboxError: the points could not be written. `load(points)` sends them to the store without the outbox.
        """
        batch = self.outbox.put(points, read_at, run)
        hand_over(self.outbox.folder, batch.name)
        return batch

    def claim(self, name: str) -> Batch | None:
        """Lock a batch that waits in the outbox.

        Returns:
            None if the batch has been loaded, or another process is loading it.

        Raises:
            OutboxError: the file cannot be opened.
        """
        return self.outbox.claim(name)

    def load(self, points: Batch | PointBatch, *, until: float) -> Loaded:
        """Write points into the store, with retries until `until`; then remove the batch from the outbox.

        Args:
            points: a batch of the outbox, which is released at the end; or points that could not be put there.
            until: the time limit, as a value of `time.monotonic()`.
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
        try:
            self._note_if_late(points)
        except EmmError as err:
            return Loaded(rejected, (*problems, f"{err}; stored, but kept in the outbox to be stored again"))
        with _collected(problems):
            batch.settle(rejected)
        return Loaded(rejected, tuple(problems))

    def _note_if_late(self, points: PointBatch) -> None:
        times = points.readings.time
        if len(times) and datetime.now(UTC).timestamp() - times.min() / 1000 > LATE_AFTER_S:
            self._note_late(int(times.min()), int(times.max()))

    def _load_unsafely(self, points: PointBatch, until: float) -> Loaded:
        if not len(points):
            return Loaded()
        try:
            return Loaded(write_with_retries(self.store, points, until))
        except StoreError as err:
            return Loaded(problems=(f"{err}; lost: {number_of(len(points), 'point')}",), lost=True)

    def replay(self, on_file: Callable[[], None] = lambda: None) -> Replayed:
        """Load waiting batches, oldest first, until the store is unavailable. Polls and other replays may run too.

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
                    self._note_if_late(points)
                except DamagedFileError as err:
                    batch.set_aside()
                    done.damaged.append(str(err))
                    continue
                except (StoreError, ConfigDatabaseError) as err:
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
    """Return the number of rejected points."""
    return sum(len(each.points) for each in rejected)


def write_with_retries(store: ReadingsStore, points: PointBatch, until: float) -> list[RejectedPoints]:
    """Write points, and retry after a pause while there is time and a retry can help.

    Raises:
        StoreError: the error of the last attempt.
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
    return [f"the outbox is full (OUTBOX_MAX_MB) and has lost {lost}, {span}"]


@contextmanager
def _collected(problems: list[str]) -> Iterator[None]:
    """Report errors of the outbox without preventing the write."""
    try:
        yield
    except OutboxError as err:
        problems.append(str(err))
