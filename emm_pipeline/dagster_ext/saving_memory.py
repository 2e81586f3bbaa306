"""Save memory in the processes that run for months: the daemon, the webserver, the code server and what it forks.

Imports nothing, so that it can be called before Dagster is imported.
"""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

UNUSED = ("pyarrow", "pygments", "rich")
"""Packages that libraries import if they are installed, and that no service uses. pandas imports pyarrow for a data
type (34 MB); structlog and Mako, which Dagster imports, colour error messages with the others (7 MB)."""

_MAXIMUM_OF_ARENAS = -8
"""glibc's M_ARENA_MAX."""


@contextmanager
def saving_memory() -> Iterator[None]:
    """Import other modules within this context, without the unused packages, and with one arena of the allocator.

    By itself glibc opens an arena for each of the first threads, each with free memory of its own: 3 MB per process.
    Python's threads hold its lock while they allocate, so they do not need them.
    """
    if hasattr(libc := ctypes.CDLL(None), "mallopt"):  # glibc's
        libc.mallopt(_MAXIMUM_OF_ARENAS, 1)
    left_out = [name for name in UNUSED if name not in sys.modules]
    for name in left_out:
        sys.modules[name] = None  # type: ignore[assignment]  # documented: an import then fails
    try:
        yield
    finally:
        for name in left_out:
            sys.modules.pop(name, None)
