"""Replies to refused requests, and headers that protect every reply."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emm_pipeline.http_access.asgi import Headers, Message, Receive, RefusedError, Scope, Send

NO_FRAMES = (b"content-security-policy", b"frame-ancestors 'none'")
_PROTECTION = (
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


def protected(send: Send, more: Headers, policy: tuple[bytes, bytes] = NO_FRAMES) -> Send:
    """Add `more` headers to each reply, and headers that prevent pages of other origins from framing or reading it.

    Args:
        send: sends a message.
        more: further headers.
        policy: the header with the content security policy.
    """

    async def send_protected(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [one for one in message.get("headers", ()) if not one[0].lower().startswith(b"access-control-")]
            message = {**message, "headers": [*headers, *_PROTECTION, policy, *more]}
        await send(message)

    return send_protected


async def refuse(scope: Scope, receive: Receive, send: Send, refusal: RefusedError) -> None:
    """Reply to a refused request, or close its WebSocket."""
    if scope["type"] == "http":
        await respond(send, refusal.status, str(refusal), *refusal.headers)
        return
    await receive()  # the request to connect
    if "websocket.http.response" in scope.get("extensions", {}):
        await respond(send, refusal.status, str(refusal), *refusal.headers, kind="websocket.http.response")
    else:
        await send({"type": "websocket.close", "code": 1008, "reason": str(refusal)[:100]})


async def respond(
    send: Send, status: int, text: str, *headers: tuple[bytes, bytes], kind: str = "http.response"
) -> None:
    """Send a reply of one line of text."""
    body = f"{text}\n".encode()
    fixed = ((b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body)))
    await send({"type": f"{kind}.start", "status": status, "headers": [*fixed, *headers, *_PROTECTION, NO_FRAMES]})
    await send({"type": f"{kind}.body", "body": body})
