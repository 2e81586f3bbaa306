"""Runs `emm` in processes forked from one that has imported it, so that a test does not wait for Python to start.

`python forked_commands.py SOCKET PID` listens on a Unix socket as long as the process PID exists. Each connection sends
the length of a JSON request together with the descriptors for stdin, stdout and stderr, then the request, and receives
the exit code.
"""

import atexit
import gc
import importlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NoReturn

SIZE = struct.Struct("!q")
OWNER_CHECK_S = 1.0
NOT_IMPORTED = {"code-server", "daemon", "demo", "webserver"}
"""Commands with Dagster, or with threads that a fork would lose."""
IMPORTED_LATE = (
    "emm_pipeline.stores.influxdb.store",
    "emm_pipeline.stores.outbox.folder",
    "emm_pipeline.stores.postgresql.store",
    "grpc_health.v1.health_pb2_grpc",
)
"""Modules that commands import only when they need them."""


def run(path: str, request: dict[str, object], streams: list[int], timeout_s: float) -> int:
    """Send a request to the server and return the command's exit code; negative for a signal."""
    content = json.dumps(request).encode()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout_s)
        connection.connect(path)
        socket.send_fds(connection, [SIZE.pack(len(content))], streams)
        connection.sendall(content)
        try:
            answer = connection.recv(SIZE.size, socket.MSG_WAITALL)
        except TimeoutError:
            raise subprocess.TimeoutExpired(request["arguments"], timeout_s) from None
    return SIZE.unpack(answer)[0]


def serve(path: str, owner: int) -> None:
    """Fork a process per connection; return in the process that has become a command.

    The server ends after its owner, which may be killed.
    """
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    while True:
        while not select.select([listener], [], [], OWNER_CHECK_S)[0]:
            if not Path(f"/proc/{owner}").exists():
                os._exit(0)
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _answer(connection)
            return
        connection.close()


def _answer(connection: socket.socket) -> None:
    """Become the command, in a child process; send its exit code from this one."""
    header, streams, _, _ = socket.recv_fds(connection, SIZE.size, 3)
    request = json.loads(connection.recv(SIZE.unpack(header)[0], socket.MSG_WAITALL))
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        connection.sendall(SIZE.pack(os.waitstatus_to_exitcode(status)))
        os._exit(0)
    connection.close()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    os.chdir(request["folder"])
    sys.argv = [request["program"], *(os.fsdecode(os.fsencode(each)) for each in request["arguments"])]


def _import_commands() -> None:
    from emm_pipeline.catalog import load_catalogue
    from emm_pipeline.cli.main import COMMANDS

    for name, place in COMMANDS.items():
        if name not in NOT_IMPORTED:
            importlib.import_module(f"emm_pipeline.cli.{place.partition(':')[0]}")
    for name in IMPORTED_LATE:
        importlib.import_module(name)
    load_catalogue()


def _run_main() -> NoReturn:
    """Run the command as Python does, without its slow last step: to delete each object of each imported module."""
    from emm_pipeline.cli.main import main

    try:
        main()
        code = 0
    except SystemExit as err:
        if not isinstance(err.code, int | None):
            raise
        code = err.code or 0
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    sys.path.remove(str(Path(__file__).parent))
    _import_commands()
    gc.freeze()  # a collection would write to all pages that the processes share
    serve(sys.argv[1], int(sys.argv[2]))
    _run_main()
