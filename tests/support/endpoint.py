"""An HTTP endpoint that receives alerts as JSON (Apprise's `json://`)."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Endpoint:
    """An HTTP server that keeps the JSON that it receives, and replies with `status`."""

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        self.status = 200
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if endpoint.status == 200:
                    endpoint.received.append(json.loads(body))
                self.send_response(endpoint.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://user:hunter2@127.0.0.1:{self._server.server_port}/hook"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def lines(self) -> list[str]:
        """Return the lines of all messages, in the order in which they came."""
        return [line for message in list(self.received) for line in message["message"].splitlines() if line.strip()]

    def close(self) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._server.server_close()
