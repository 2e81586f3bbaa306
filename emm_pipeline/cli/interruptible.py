"""Running what is asynchronous, so that Ctrl-C at any moment leaves nothing on stderr."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Do what `asyncio.run` does; interrupted before it begins, the coroutine is not complained of as never awaited."""
    try:
        return asyncio.run(coroutine)
    finally:
        coroutine.close()
