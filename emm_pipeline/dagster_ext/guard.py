"""An ASGI wrapper that protects Dagster's webserver, which itself has no login and accepts requests of any web page.

A page on another origin must not be able to start, stop or read anything through a browser that can reach the
webserver, and a user on another machine needs a login. Requests that do not come from a browser (without an Origin)
need only the login.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from emm_pipeline.dagster_ext.asgi import RefusedError, header

if TYPE_CHECKING:
    from collections.abc import Collection

    from emm_pipeline.dagster_ext.asgi import App, Headers, Message, Receive, Scope, Send
    from emm_pipeline.dagster_ext.login import Login

HEALTH_PATH = "/healthz"
"""Path that needs no login, and only tells whether Dagster answers."""

_DAGSTERS_HEALTH_PATH = "/server_info"
_READS = frozenset({"GET", "HEAD"})
_OK, _FORBIDDEN, _UNAVAILABLE = 200, 403, 503
_PROTECTION = (
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", b"frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class Guard:
    """An ASGI application around Dagster's.

    Args:
        app: Dagster's application.
        hosts: host names under which browsers may open it, besides localhost; lower case, without a port.
        any_address: whether browsers may also open it under any IP address of the machine. (A malicious web page can
            have a host name that resolves to this machine, but not an IP address as its host.)
        login: checks the login of each request; None if no login is required.
    """

    def __init__(
        self,
        app: App,
        hosts: Collection[str],
        *,
        any_address: bool,
        login: Login | None,
    ) -> None:
        self._app = app
        self._hosts = frozenset(hosts) | {"localhost"}
        self._any_address = any_address
        self._login = login

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to Dagster, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        try:
            self._check_origin(scope)
            if scope["type"] == "http" and scope["path"] == HEALTH_PATH:
                await self._answer_health(scope, receive, send)
                return
            headers = await self._login.check(scope) if self._login else ()
        except RefusedError as refusal:
            await _refuse(scope, receive, send, refusal)
            return
        await self._app(scope, receive, _protected(send, headers))

    def _check_origin(self, scope: Scope) -> None:
        host = header(scope, b"host").lower()
        if not self._is_ours(host):
            raise RefusedError(_FORBIDDEN, f"the host {host!r} is not one of this server's: add its name to EMM_HOSTS")
        origin = header(scope, b"origin").lower()
        if origin and _place(origin) != _place(f"//{host}"):
            raise RefusedError(_FORBIDDEN, f"requests from pages of {origin!r} are not accepted")
        if not scope["path"].isprintable():
            raise RefusedError(_FORBIDDEN, "the path has characters that are not allowed")
        if scope["type"] != "http":
            return
        if scope["method"] not in _READS and header(scope, b"sec-fetch-site") in {"cross-site", "same-site"}:
            raise RefusedError(_FORBIDDEN, "requests from pages of another origin are not accepted")
        if scope["path"].rstrip("/").endswith("/graphql"):
            has_query = "query" in parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
            is_json = header(scope, b"content-type").startswith("application/json")
            if has_query or (scope["method"] not in _READS and not is_json):
                raise RefusedError(_FORBIDDEN, "GraphQL is accepted only by POST as application/json")

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in self._hosts:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or self._any_address

    async def _answer_health(self, scope: Scope, receive: Receive, send: Send) -> None:
        statuses: list[int] = []

        async def look(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        inner = {**scope, "method": "GET", "path": _DAGSTERS_HEALTH_PATH, "raw_path": None, "query_string": b""}
        await self._app(inner, receive, look)
        well = statuses == [_OK]
        await _respond(send, _OK if well else _UNAVAILABLE, "ok" if well else "Dagster does not answer")


def _place(url: str) -> tuple[str, int | None] | None:
    """Return host and port, without the scheme's default port; None for `null` and for invalid URLs."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if not parts.hostname:
        return None
    return parts.hostname, None if port in {80, 443} else port


def _protected(send: Send, more: Headers) -> Send:
    """Add `more` headers to each reply, and headers that prevent pages of other origins from framing or reading it."""

    async def protected(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [one for one in message.get("headers", ()) if not one[0].lower().startswith(b"access-control-")]
            message = {**message, "headers": [*headers, *_PROTECTION, *more]}
        await send(message)

    return protected


async def _refuse(scope: Scope, receive: Receive, send: Send, refusal: RefusedError) -> None:
    if scope["type"] == "http":
        await _respond(send, refusal.status, str(refusal), *refusal.headers)
        return
    await receive()  # the request to connect
    if "websocket.http.response" in scope.get("extensions", {}):
        await _respond(send, refusal.status, str(refusal), *refusal.headers, kind="websocket.http.response")
    else:
        await send({"type": "websocket.close", "code": 1008, "reason": str(refusal)[:100]})


async def _respond(
    send: Send, status: int, text: str, *headers: tuple[bytes, bytes], kind: str = "http.response"
) -> None:
    body = f"{text}\n".encode()
    fixed = ((b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body)))
    await send({"type": f"{kind}.start", "status": status, "headers": [*fixed, *headers, *_PROTECTION]})
    await send({"type": f"{kind}.body", "body": body})
