"""A client that sends requests as browsers do, and an application behind the guard that records the requests."""

import asyncio
import base64

from emm_pipeline.dagster_ext.guard import Guard


def basic(user: str, password: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


class Dagster:
    """An application that records the requests that reach it, and allows every origin to read its replies."""

    def __init__(self) -> None:
        self.reached: list[str] = []

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "websocket":
            self.reached.append("websocket")
            await send({"type": "websocket.accept"})
            return
        self.reached.append(f"{scope['method']} {scope['path']}")
        await send({"type": "http.response.start", "status": 200, "headers": [(b"access-control-allow-origin", b"*")]})
        await send({"type": "http.response.body", "body": b"secret"})


class Client:
    """Sends requests to a guard as a browser or a program does; a reply is status, headers and body."""

    def __init__(self, guard: Guard, dagster: Dagster) -> None:
        self.guard, self.dagster = guard, dagster

    def ask(
        self,
        method: str = "GET",
        path: str = "/runs",
        query: bytes = b"",
        *,
        host: str = "127.0.0.1:3001",
        client: str = "10.0.0.9",
        **headers: str,
    ) -> tuple[int, dict[str, str], str]:
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query,
            "client": (client, 40000),
            "headers": self._headers(host, headers),
        }
        sent = self._run(scope)
        reply = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return sent[0]["status"], reply, b"".join(part.get("body", b"") for part in sent[1:]).decode()

    def connect(self, host: str = "127.0.0.1:3001", **headers: str) -> list[str]:
        """Open a WebSocket; return the types of the messages that come back."""
        scope = {
            "type": "websocket",
            "path": "/graphql",
            "query_string": b"",
            "client": ("10.0.0.9", 40000),
            "headers": self._headers(host, headers),
        }
        return [message["type"] for message in self._run(scope)]

    def _headers(self, host: str, headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return [(name.encode(), value.encode()) for name, value in ({"host": host} | named).items()]

    def _run(self, scope) -> list[dict]:
        sent: list[dict] = []

        async def receive() -> dict:
            return {"type": "websocket.connect" if scope["type"] == "websocket" else "http.request"}

        async def send(message) -> None:
            sent.append(message)

        asyncio.run(self.guard(scope, receive, send))
        return sent
