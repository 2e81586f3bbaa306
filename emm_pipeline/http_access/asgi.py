"""ASGI's types, access to a request's headers, and the error for a refused request, for the parts of the guard.

ASGI: https://asgi.readthedocs.io/en/latest/specs/www.html
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]


class RefusedError(Exception):
    """A request that is not passed to Dagster, with the HTTP status, the reason and further headers of the reply."""

    def __init__(self, status: int, reason: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(reason)
        self.status = status
        self.headers = headers


def header(scope: Scope, name: bytes) -> str:
    """Return a header's value; the values of a repeated header are joined, and so match nothing."""
    values = [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name]
    return ", ".join(values).strip()


def peer(scope: Scope) -> str:
    """Return the address of the connection's peer."""
    return str(scope["client"][0]) if scope.get("client") else "unknown"
