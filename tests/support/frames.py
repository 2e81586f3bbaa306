"""Readings DataFrames for tests."""

from datetime import UTC, datetime

import pandas as pd

from emm_pipeline.readings import READING_COLUMNS, PollPoint
from emm_pipeline.stores.points import poll_lines, reading_lines

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
"""A time in whole milliseconds: 1 772 366 400 000."""
NOON_MS = 1_772_366_400_000


def reading(**columns):
    """One row of a readings DataFrame: meter 1's voltage at noon, unless told otherwise."""
    row = {"time": NOON, "id": 1, "description": "example", "measurement": "voltageL1", "unit": "V", "value": 230.5}
    return row | columns


def readings(*rows):
    """A DataFrame as decoding makes it."""
    frame = pd.DataFrame(rows, columns=list(READING_COLUMNS), dtype=object)
    time = pd.to_datetime(frame["time"], utc=True).astype("datetime64[ms, UTC]")
    return frame.assign(time=time).astype({"id": "int64", "value": "float64"})


def poll(**changes):
    """A poll of meter 1 at noon that went well, unless told otherwise."""
    fields = {
        "time": NOON,
        "id": 1,
        "description": "example",
        "ok": True,
        "latency_ms": 12.5,
        "requests": 2,
        "points": 7,
    }
    return PollPoint(**(fields | changes))


def lines(frame, polls=()):
    """Readings and polls as the line protocol in which they travel; what it cannot carry is left out."""
    return (reading_lines(frame) + poll_lines(polls)).lines


def write(store, frame, polls=()):
    """Store readings and polls; returns what the store refused."""
    return store.write(lines(frame, polls))
