"""Free ports for servers of the tests, and closed ports for meters that do not exist.

They are not from the kernel's range for port 0, because the kernel could give a port that must stay closed to a server
of another test that runs at the same time.
"""

import itertools
import os
import socket

FIRST, EACH = 20_000, 1_500
"""Ports below the kernel's own range, which begins at 32768, with a range for each of eight pytest-xdist processes."""


def _range() -> tuple[int, int]:
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    first = FIRST + int(worker) % 8 * EACH
    return first, first + EACH


# The start depends on the process id, so that two runs of the tests on one machine use different ports.
_ports = itertools.cycle(range(*_range()))
for _ in range(os.getpid() % EACH):
    next(_ports)


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 on which no process listens, and that no other test gets."""
    for port in itertools.islice(_ports, EACH):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError(f"no port from {_range()[0]} on is free")
