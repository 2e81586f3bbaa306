"""A simulated Grafana: a small server with its login API, since Grafana cannot be installed from package registries.

It answers as Grafana's HTTP API is documented (https://grafana.com/docs/grafana/latest/developers/http_api/, user,
admin and "other"): 401 to a wrong login, 400 or 401 to a refused change of password, and 401 to the right login, too,
for five minutes after five wrong ones. It needs Python's own library only: the tests of the stack run it in a
container (`python grafana_api.py`), where it reads the variables of Grafana's image and keeps the password on the
volume.
"""

import base64
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ATTEMPTS, LOCKED_S = 5, 300.0
SHORTEST = 4
"""Characters of a password that Grafana accepts."""

WRONG_LOGIN = 401, {"message": "Invalid username or password", "messageId": "password-auth.failed", "statusCode": 401}


class GrafanaAPI:
    """A simulated Grafana with one administrator.

    Attributes:
        password: the administrator's; None while Grafana does not accept basic authentication.
        reloads: number of reloads of the data sources.
        ready: whether it is ready; if not, it answers 503.
    """

    def __init__(
        self,
        password: str | None,
        user: str = "admin",
        address: tuple[str, int] = ("127.0.0.1", 0),
        clock: Callable[[], float] = time.monotonic,
        changed: Callable[[str], object] = lambda _: None,
    ) -> None:
        self.user, self.password, self.reloads, self.ready = user, password, 0, True
        self._clock, self._changed = clock, changed
        self._failures: list[float] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                """Keep quiet."""

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, content = api.handle(
                    f"{self.command} {self.path}", self.headers.get("Authorization", ""), json.loads(body or "{}")
                )
                reply = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json; charset=UTF-8")
                self.send_header("Content-Length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

            do_GET = do_POST = do_PUT = answer  # noqa: N815  # the names that http.server looks for

        self.server = ThreadingHTTPServer(address, Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def handle(self, request: str, authorization: str, body: dict) -> tuple[int, dict]:
        """Answer a request."""
        if not self.ready:
            return 503, {"message": "Service Unavailable"}
        if request == "GET /api/health":
            return 200, {"database": "ok", "version": "13.2.3", "commit": "0"}
        if not self._logs_in(authorization):
            return WRONG_LOGIN
        if request == "PUT /api/user/password":
            return self._change(body)
        if request == "POST /api/admin/provisioning/datasources/reload":
            self.reloads += 1
        answers = {
            "GET /api/user": {"id": 1, "login": self.user, "isGrafanaAdmin": True},
            "POST /api/admin/provisioning/datasources/reload": {"message": "Datasources config reloaded"},
        }
        return (200, answers[request]) if request in answers else (404, {"message": "Not found"})

    def _logs_in(self, authorization: str) -> bool:
        now = self._clock()
        self._failures = [failed for failed in self._failures if now - failed < LOCKED_S]
        scheme, _, value = authorization.partition(" ")
        given = base64.b64decode(value).decode() if scheme == "Basic" else ""
        is_right = self.password is not None and given == f"{self.user}:{self.password}"
        if is_right and len(self._failures) < ATTEMPTS:
            return True
        if given and not is_right:
            self._failures.append(now)
        return False

    def _change(self, body: dict) -> tuple[int, dict]:
        if body.get("oldPassword") != self.password:
            return 401, {"message": "Invalid old password"}
        if len(body.get("newPassword", "")) < SHORTEST:
            return 400, {"message": "New password is too short"}
        self.password = body["newPassword"]
        self._changed(self.password)
        return 200, {"message": "User password changed"}


@contextmanager
def running_grafana(password: str | None, **arguments: Callable[[], float]) -> Iterator[GrafanaAPI]:
    """Yield a simulated Grafana on loopback."""
    api = GrafanaAPI(password, **arguments)
    thread = threading.Thread(target=api.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield api
    finally:
        api.server.shutdown()
        thread.join()
        api.server.server_close()


def main() -> None:
    """Serve on port 3000, as Grafana's image does; the file with the initial password is read once."""
    kept = Path("/var/lib/grafana/password")
    if not kept.exists():
        first = os.environ.get("GF_SECURITY_ADMIN_PASSWORD__FILE")
        kept.write_text(Path(first).read_text() if first else os.environ["GF_SECURITY_ADMIN_PASSWORD"])
    user = os.environ.get("GF_SECURITY_ADMIN_USER", "admin")
    GrafanaAPI(kept.read_text(), user, ("0.0.0.0", 3000), changed=kept.write_text).server.serve_forever()


if __name__ == "__main__":
    main()
