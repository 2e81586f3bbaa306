"""Save memory in the processes that run for months: the daemon, the webserver, the code server and what it forks.

Imports nothing else, so that it can be called before Dagster is imported.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from emm_pipeline.allocator import use_one_arena

UNUSED = ("pyarrow", "pygments", "rich")
"""Packages that libraries import if they are installed, and that no service uses. pandas imports pyarrow for a data
type (34 MB); structlog and Mako, which Dagster imports, colour error messages with the others (7 MB)."""


@contextmanager
def saving_memory() -> Iterator[None]:
    """Import other modules within this context, without the unused packages, and with one arena of the allocator."""
    use_one_arena()
    left_out = [name for name in UNUSED if name not in sys.modules]
    for name in left_out:
        sys.modules[name] = None  # type: ignore[assignment]  # documented: an import then fails
    try:
        yield
    finally:
        for name in left_out:
            sys.modules.pop(name, None)
