"""The check of every request before it reaches a page: host, origin, login, CSRF token, size; protective headers."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.formparsers import MultiPartException
from starlette.requests import Request

from emm_pipeline.errors import ConfigDatabaseError
from emm_pipeline.event_loop import in_thread
from emm_pipeline.http_access.asgi import RefusedError, header
from emm_pipeline.http_access.origins import FORBIDDEN, READS
from emm_pipeline.http_access.replies import protected, refuse
from emm_pipeline.web.security.callers import LOCAL, UNAUTHORIZED, same
from emm_pipeline.web.security.sessions import COOKIE

if TYPE_CHECKING:
    from emm_pipeline.http_access.asgi import App, Headers, Message, Receive, Scope, Send
    from emm_pipeline.http_access.forwarded import ForwardedClient
    from emm_pipeline.http_access.origins import Origins
    from emm_pipeline.web.security.callers import Caller, Callers

CALLER = "emm.caller"
"""The key of a request's scope under which its caller is found."""
MAX_BODY = 2_000_000
"""Maximum size of a request in bytes; the largest is a CSV file."""

LOGIN_PATH, HEALTH_PATH = "/login", "/healthz"
_OPEN = frozenset({LOGIN_PATH, HEALTH_PATH})
OWN_PATHS = frozenset({"/logout", "/password"})
"""Changes of the own session and password, which are allowed also to an account that may only read."""
_STATIC = "/static/"
_FOR_PROGRAMS = ("/api/", "/metrics")
_INVALID, _TOO_LARGE, _SEE_OTHER, _UNAVAILABLE = 400, 413, 303, 503
_JSON = "application/json"
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
_RULES = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    b"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
POLICY = (b"content-security-policy", _RULES)
_NOT_KEPT = (b"cache-control", b"no-store")


class Access:
    """An ASGI application around the page's.

    Args:
        app: the page's application.
        origins: the accepted hosts and origins.
        callers: finds the sender of a request.
        clients: returns the address of a request's client.
    """

    def __init__(self, app: App, origins: Origins, callers: Callers, clients: ForwardedClient) -> None:
        self._app = app
        self._origins = origins
        self._callers = callers
        self._clients = clients

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to the page, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await refuse(scope, receive, send, RefusedError(FORBIDDEN, "the page has no WebSockets"))
            return
        is_static = scope["path"].startswith(_STATIC)
        send = protected(send, () if is_static else (_NOT_KEPT,), POLICY)
        try:
            self._origins.check(scope)
            if is_static or scope["path"] in _OPEN:
                await self._app(scope, _replay(await _body(scope, receive), receive), send)
                return
            caller = await self._caller(scope)
            body = await _body(scope, receive)
            if scope["method"] not in READS:
                await _check_change(scope, body, caller)
        except RefusedError as refusal:
            await refuse(scope, receive, send, refusal)
            return
        scope[CALLER] = caller
        cookies = await self._cookies(scope, caller)
        await self._app(scope, _replay(body, receive), _with(send, cookies))

    async def _caller(self, scope: Scope) -> Caller:
        try:
            caller = await in_thread(lambda: self._callers.find(scope), "web access")
        except ConfigDatabaseError as err:
            raise RefusedError(_UNAVAILABLE, str(err)) from None
        if caller is None:
            raise _login_wanted(scope)
        return caller.at(await self._clients(scope))

    async def _cookies(self, scope: Scope, caller: Caller) -> Headers:
        if caller.new_cookie is None:
            return ()
        return (cookie(caller.new_cookie, is_encrypted=await self._clients.is_encrypted(scope)),)


def cookie(id_: str, *, is_encrypted: bool) -> tuple[bytes, bytes]:
    """Return the header that gives a browser the cookie of its session; an empty id removes it."""
    attributes = "Path=/; HttpOnly; SameSite=Strict" + ("; Secure" if is_encrypted else "")
    return b"set-cookie", f"{COOKIE}={id_}; {attributes}{'' if id_ else '; Max-Age=0'}".encode()


def caller_of(request: Request) -> Caller:
    """Return the sender of a request that `Access` has passed."""
    caller: Caller = request.scope[CALLER]
    return caller


def _login_wanted(scope: Scope) -> RefusedError:
    path = scope["path"]
    if path.startswith(_FOR_PROGRAMS):
        return RefusedError(
            UNAUTHORIZED,
            "log in, or send a token as: Authorization: Bearer …",
            (b"www-authenticate", b'Bearer realm="EMM"'),
        )
    if header(scope, b"hx-request"):
        return RefusedError(UNAUTHORIZED, "log in", (b"hx-redirect", LOGIN_PATH.encode()))
    if scope["method"] not in READS:
        return RefusedError(UNAUTHORIZED, "the session has ended: log in again, and repeat the change")
    query = scope["query_string"].decode("latin-1")
    target = quote(path + (f"?{query}" if query else ""), safe="/")
    return RefusedError(_SEE_OTHER, "log in", (b"location", f"{LOGIN_PATH}?next={target}".encode()))


async def _check_change(scope: Scope, body: bytes, caller: Caller) -> None:
    """Refuse a change without the CSRF token of the session, or by someone who may only read."""
    if caller.session is None:
        is_allowed = True  # a token, which no browser sends by itself
    elif caller.name == LOCAL and _is_for_programs(scope) and _is_json(scope):
        is_allowed = True  # no page of another origin can send this type
    else:
        is_allowed = caller.new_cookie is None and same(await _csrf_of(scope, body), caller.csrf)
    if not is_allowed:
        raise RefusedError(FORBIDDEN, "the form is not valid any more: open the page again, and repeat the change")
    if not caller.may_change and scope["path"] not in OWN_PATHS:
        raise RefusedError(FORBIDDEN, f"{caller.name} may read only, and change nothing")


def _is_for_programs(scope: Scope) -> bool:
    return bool(scope["path"].startswith(_FOR_PROGRAMS))


def _is_json(scope: Scope) -> bool:
    return header(scope, b"content-type").partition(";")[0].strip() == _JSON


async def _csrf_of(scope: Scope, body: bytes) -> str:
    given = header(scope, b"x-csrf-token")
    if given or not header(scope, b"content-type").startswith(_FORMS):
        return given
    try:
        async with Request(scope, _replay(body)).form(max_files=1, max_fields=1000, max_part_size=MAX_BODY) as form:
            value = form.get("csrf")
    except MultiPartException as err:
        raise RefusedError(_INVALID, err.message) from None
    return value if isinstance(value, str) else ""


async def _body(scope: Scope, receive: Receive) -> bytes:
    """Read the body of a request that may change something; that of another one is not read.

    Raises:
        RefusedError: It is too large.
    """
    parts: list[bytes] = []
    more, size = scope["method"] not in READS, 0
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY:
            raise RefusedError(_TOO_LARGE, f"the request has more than {MAX_BODY:_} bytes")
        more = message.get("more_body", False)
    return b"".join(parts)


def _replay(body: bytes, receive: Receive | None = None) -> Receive:
    """Return a function that returns the body that was read, and then what `receive` returns."""
    waiting = [body]

    async def replay() -> Message:
        if waiting or receive is None:
            return {"type": "http.request", "body": waiting.pop() if waiting else b"", "more_body": False}
        return await receive()

    return replay


def _with(send: Send, headers: Headers) -> Send:
    if not headers:
        return send

    async def send_with(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *headers]}
        await send(message)

    return send_with
