"""EMM's web servers answer, end at once at a signal, and report a port that is in use."""

import http.client
import signal
import subprocess
import sys

import pytest
from support.dagster_ui import wait_for
from support.ports import free_port

PROGRAM = """
import sys
from emm_pipeline.http_access import serving
serving.TICK_S = 3600  # a signal ends the server without waiting for the next tick

async def application(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

serving.serve_until_signal(application, port=int(sys.argv[1]), log_level="warning", lifespan="off")
"""


def reply(port: int) -> http.client.HTTPResponse | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", "/")
        return connection.getresponse()
    except ConnectionRefusedError:
        return None
    finally:
        connection.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_answers_and_ends_at_a_signal(number):
    port = free_port()
    with subprocess.Popen([sys.executable, "-c", PROGRAM, str(port)]) as server:
        answer = wait_for("a reply", lambda: reply(port))
        assert answer.status == 204
        assert answer.headers["date"]
        server.send_signal(number)
        assert server.wait(60) == (-signal.SIGTERM if number == signal.SIGTERM else 0)


def test_a_server_whose_port_is_in_use_ends_with_an_exit_code():
    port = free_port()
    with subprocess.Popen([sys.executable, "-c", PROGRAM, str(port)]) as server:
        wait_for("a reply", lambda: reply(port))
        second = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(port)], capture_output=True, timeout=60, check=False
        )
        assert second.returncode != 0
        assert b"address already in use" in second.stderr
        server.kill()
