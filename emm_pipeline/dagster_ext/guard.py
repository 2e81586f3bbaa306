"""An ASGI wrapper that protects Dagster's webserver, which itself has no login and accepts requests of any web page.

A page on another origin must not be able to start, stop or read anything through a browser that can reach the
webserver, and a user on another machine needs a login. Requests that do not come from a browser (without an Origin)
need only the login.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from emm_pipeline.http_access.asgi import RefusedError, header
from emm_pipeline.http_access.origins import FORBIDDEN, READS, Origins
from emm_pipeline.http_access.replies import protected, refuse, respond

if TYPE_CHECKING:
    from collections.abc import Collection

    from emm_pipeline.dagster_ext.login import Login
    from emm_pipeline.http_access.asgi import App, Message, Receive, Scope, Send

HEALTH_PATH = "/healthz"
"""Path that needs no login, and only tells whether Dagster answers."""

_DAGSTERS_HEALTH_PATH = "/server_info"
_OK, _UNAVAILABLE = 200, 503


class Guard:
    """An ASGI application around Dagster's.

    Args:
        app: Dagster's application.
        hosts: host names under which browsers may open it, besides localhost; lower case, without a port.
        any_address: whether browsers may also open it under any IP address of the machine.
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
        self._origins = Origins(hosts, any_address=any_address)
        self._login = login

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to Dagster, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        try:
            self._origins.check(scope)
            _check_graphql(scope)
            if scope["type"] == "http" and scope["path"] == HEALTH_PATH:
                await self._answer_health(scope, receive, send)
                return
            headers = await self._login.check(scope) if self._login else ()
        except RefusedError as refusal:
            await refuse(scope, receive, send, refusal)
            return
        await self._app(scope, receive, protected(send, headers))

    async def _answer_health(self, scope: Scope, receive: Receive, send: Send) -> None:
        statuses: list[int] = []

        async def look(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        inner = {**scope, "method": "GET", "path": _DAGSTERS_HEALTH_PATH, "raw_path": None, "query_string": b""}
        await self._app(inner, receive, look)
        well = statuses == [_OK]
        await respond(send, _OK if well else _UNAVAILABLE, "ok" if well else "Dagster does not answer")


def _check_graphql(scope: Scope) -> None:
    """Refuse GraphQL that a form or an image of a foreign page could send."""
    if scope["type"] == "http" and scope["path"].rstrip("/").endswith("/graphql"):
        has_query = "query" in parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        is_json = header(scope, b"content-type").startswith("application/json")
        if has_query or (scope["method"] not in READS and not is_json):
            raise RefusedError(FORBIDDEN, "GraphQL is accepted only by POST as application/json")
