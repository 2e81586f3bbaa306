"""Ports for servers of the tests, and for meters that are not there.

Not from the kernel's range for port 0: a port that a test means to be closed must not be given to the server of another
test that runs beside it.
"""

import itertools
import os
import socket

FIRST, EACH = 20_000, 1_500
"""Below the kernel's own range, which begins at 32768; a range for each of eight processes of pytest-xdist."""


def _range() -> tuple[int, int]:
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    first = FIRST + int(worker) % 8 * EACH
    return first, first + EACH


# By process id, so that two runs of the tests on one machine do not go through the range in step.
_ports = itertools.cycle(range(*_range()))
for _ in range(os.getpid() % EACH):
    next(_ports)


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nothing listens on now, and that no other test is given."""
    for port in itertools.islice(_ports, EACH):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError(f"no port from {_range()[0]} on is free")
