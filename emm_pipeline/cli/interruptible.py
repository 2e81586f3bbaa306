"""Running what is asynchronous, so that Ctrl-C at any moment leaves nothing on stderr."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Do what `asyncio.run` does; interrupted before it begins, the coroutine is not complained of as never awaited.

    For the main thread, since a signal is involved.
    """
    try:
        with asyncio.Runner(loop_factory=_whole_loop) as runner:
            return runner.run(coroutine)
    finally:
        coroutine.close()


def _whole_loop() -> asyncio.AbstractEventLoop:
    """A new event loop. Ctrl-C waits until it is whole: half of one complains when it goes."""
    came: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        loop = asyncio.new_event_loop()
    finally:
        signal.signal(signal.SIGINT, handler)
    if came and handler is not signal.SIG_IGN:
        loop.close()
        raise KeyboardInterrupt
    return loop
