"""The event loop in which many connections are read at once, and threads for calls that block it."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import uvloop

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")


def run_fast(coroutine: Coroutine[Any, Any, T]) -> T:
    """Do what `asyncio.run` does, in a loop that takes two thirds of the CPU for 1000 meters.

    A signal that someone handles, as Dagster does to end a run, cancels the coroutine, and is theirs once the loop has
    ended: what a handler raises within a loop, in a callback or in a task of many, may be lost.
    """
    handlers = _signal_handlers()
    came: list[int] = []
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_cancelled_by(tuple(handlers), came, coroutine))
    finally:
        coroutine.close()
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in came:
            signal.raise_signal(number)


def _signal_handlers() -> dict[int, Any]:
    """The signals that would end us, but are handled; only the main thread has a say in it."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    return {number: handler for number, handler in handlers.items() if callable(handler)}


async def _cancelled_by(numbers: tuple[int, ...], came: list[int], coroutine: Coroutine[Any, Any, T]) -> T:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def cancel(number: int) -> None:
        came.append(number)
        if task:
            task.cancel()

    for number in numbers:
        loop.add_signal_handler(number, cancel, number)
    return await coroutine


async def sleep_until(monotonic_s: float) -> None:
    """Returns when `time.monotonic()` has reached this, and at no earlier time; at once where it has.

    A timer of the loop may come up to a millisecond early.
    """
    while (pause_s := monotonic_s - time.monotonic()) > 0:  # noqa: ASYNC110 - it waits for the clock
        await asyncio.sleep(pause_s)


async def in_thread(function: Callable[[], T], name: str) -> T:
    """Calls the function in a daemon thread of its own, and returns or raises what it does.

    asyncio's own threads are a handful, so that a few calls that hang keep all others waiting, and they are joined when
    the loop ends. Here a call that hangs costs only those who wait for it.
    """
    loop = asyncio.get_running_loop()
    settled: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: Exception | None) -> None:
        if settled.done():  # the caller was cancelled
            return
        if error:
            settled.set_exception(error)
        else:
            settled.set_result(result)  # type: ignore[arg-type]  # without an error it is a T

    def call() -> None:
        result, error = None, None
        try:
            result = function()
        except Exception as err:  # noqa: BLE001 - raised where it is awaited
            error = err
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=call, name=name, daemon=True).start()
    return await settled
