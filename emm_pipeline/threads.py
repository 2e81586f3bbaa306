"""Calls that block, awaited."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


async def in_thread(function: Callable[[], T], name: str) -> T:
    """Calls the function in a daemon thread of its own, and returns or raises what it does.

    asyncio's own threads are a handful, so that a few calls that hang keep all others waiting, and they are joined when
    the loop ends. Here a call that hangs costs only those who wait for it.
    """
    loop = asyncio.get_running_loop()
    settled: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: Exception | None) -> None:
        if settled.done():  # nobody waits any more
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
