"""A progress line on stderr for work that takes longer than a second."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.progress import ProgressColumn

SHOWN_AFTER_S = 1.0
WIDEST_BAR, NARROWEST_BAR = 40, 5
_TIME = len("0:00:00")
_SO_FAR, _LEFT = "so far,", "left"


@contextmanager
def progress(what: str, total: int | None = None, *, remaining: bool = False) -> Iterator[Callable[[], None]]:
    """Yield a function to call after each of `total` steps. If stderr is not a terminal, print one plain line.

    With `remaining` and `total`, also show an estimate of the remaining time.
    """
    console = Console(stderr=True)
    columns, fits = columns_of(what, total, console.width, remaining=remaining)
    bar = Progress(*columns, console=console, transient=True)
    task = bar.add_task(what, total=total)

    def show() -> None:
        if not console.is_terminal or not fits:
            console.print(f"{what} …")
        if console.is_terminal:
            bar.start()

    timer = threading.Timer(SHOWN_AFTER_S, show)
    timer.daemon = True
    timer.start()
    try:
        yield lambda: bar.advance(task)
    finally:
        timer.cancel()
        timer.join()
        if bar.live.is_started:
            bar.stop()


def columns_of(what: str, total: int | None, width: int, *, remaining: bool) -> tuple[list[ProgressColumn], bool]:
    """Return the columns of a progress line, none of which is cut, and whether there is room for `what` among them."""
    times: list[ProgressColumn] = [TimeElapsedColumn()]
    needed = _TIME
    if remaining and total:
        times += [TextColumn(_SO_FAR), TimeRemainingColumn(), TextColumn(_LEFT)]
        needed += 1 + len(_SO_FAR) + 1 + _TIME + 1 + len(_LEFT)
    if total:
        times.insert(0, MofNCompleteColumn())
        needed += 2 * len(str(total)) + 2
    fits = cell_len(what) + 1 + needed <= width
    columns: list[ProgressColumn] = []
    if fits:
        columns.append(TextColumn("{task.description}", markup=False))
        needed += cell_len(what) + 1
    if total and width - needed - 1 >= NARROWEST_BAR:
        columns.append(BarColumn(min(WIDEST_BAR, width - needed - 1)))
    return [*columns, *times], fits
