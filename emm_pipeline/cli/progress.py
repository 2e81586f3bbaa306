"""A progress line on stderr for work that takes longer than a second."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHOWN_AFTER_S = 1.0


@contextmanager
def progress(what: str, total: int | None = None, *, remaining: bool = False) -> Iterator[Callable[[], None]]:
    """Yield a function to call after each of `total` steps. If stderr is not a terminal, print one plain line.

    With `remaining`, also show an estimate of the remaining time.
    """
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        *((BarColumn(), MofNCompleteColumn()) if total else ()),
        TimeElapsedColumn(),
        *((TextColumn("so far, about"), TimeRemainingColumn(), TextColumn("left")) if remaining else ()),
        console=console,
        transient=True,
    )
    task = bar.add_task(what, total=total)
    show = bar.start if console.is_terminal else lambda: console.print(f"{what} …")
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
