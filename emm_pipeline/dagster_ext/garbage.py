"""Garbage collection for processes that run for months.

Dagster creates objects with reference cycles for each tick and each request. Python collects the oldest generation only
when it has grown by a quarter of all objects. The modules and definitions alone are 400 000 objects, so the process
would grow by tens of MiB before a collection. Here garbage is collected every minute, without the objects that exist
after the start, so that a collection takes only a few milliseconds.
"""

import gc
import threading
import time

START_TAKES_S = 30.0
"""Time (s) after the start in which the definitions are loaded."""
EVERY_S = 60.0


def collect_every_minute() -> None:
    """Start a thread that collects garbage until the process ends."""
    threading.Thread(target=_collect, name="garbage collection", daemon=True).start()


def _collect() -> None:
    time.sleep(START_TAKES_S)
    gc.collect()
    gc.freeze()
    while True:
        time.sleep(EVERY_S)
        gc.collect()
