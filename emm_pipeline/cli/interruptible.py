"""Run a coroutine so that Ctrl-C at any moment prints nothing on stderr."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine as `asyncio.run` does, without a "never awaited" warning if Ctrl-C comes before it starts.

    Only for the main thread, because it handles a signal.
    """
    try:
        with asyncio.Runner(loop_factory=_whole_loop) as runner:
            return runner.run(coroutine)
    finally:
        coroutine.close()


def _whole_loop() -> asyncio.AbstractEventLoop:
    """Return a new event loop. Ctrl-C is delayed until it is complete, as an incomplete one prints a warning."""
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
