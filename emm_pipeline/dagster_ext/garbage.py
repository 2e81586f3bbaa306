"""Garbage collection of a process that serves for months.

Dagster makes objects that refer to each other for each tick and each request. Python collects those of the oldest
generation only when they amount to a quarter of all objects, and the modules and definitions alone are 400 000: the
process grows by tens of MiB before it does. Here they are collected every minute, and the objects that exist after the
start are left out, so that a collection takes a few milliseconds.
"""

import gc
import threading
import time

START_TAKES_S = 30.0
"""Within this time the definitions are loaded."""
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
