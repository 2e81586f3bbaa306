"""What the guard's parts share: ASGI's types, a request's headers, and how a request is refused.

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
    """A request that does not reach Dagster: with this HTTP status, for this reason, with these further headers."""

    def __init__(self, status: int, reason: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(reason)
        self.status = status
        self.headers = headers


def header(scope: Scope, name: bytes) -> str:
    """Return a header's value; what was sent twice counts as something that never fits."""
    values = [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name]
    return ", ".join(values).strip()


def peer(scope: Scope) -> str:
    """Return the address from which the connection comes."""
    return str(scope["client"][0]) if scope.get("client") else "unknown"
