"""Create DataFrames of readings, and batches, for tests."""

from datetime import UTC, datetime
from math import isnan

import pandas as pd

from emm_pipeline.readings import READING_COLUMNS, PollPoint
from emm_pipeline.stores.influxdb.line_protocol import LineProtocol
from emm_pipeline.stores.points import PointBatch
from emm_pipeline.stores.shaping import shape_points

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
"""A time in whole milliseconds: 1 772 366 400 000."""
NOON_MS = 1_772_366_400_000


def reading(**columns):
    """Return one row of a readings DataFrame, by default the voltage of meter 1 at noon."""
    row = {"time": NOON, "id": 1, "description": "example", "measurement": "voltageL1", "unit": "V", "value": 230.5}
    return row | columns


def readings(*rows):
    """Return a DataFrame as decoding creates it."""
    frame = pd.DataFrame(rows, columns=list(READING_COLUMNS), dtype=object)
    time = pd.to_datetime(frame["time"], utc=True).astype("datetime64[ms, UTC]")
    return frame.assign(time=time).astype({"id": "int64", "value": "float64"})


def poll(**changes):
    """Return the point of a poll, by default a successful one of meter 1 at noon."""
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


def points(frame, polls=()):
    """Return readings and polls as a batch, without points that no store can hold."""
    return shape_points(frame, polls).points


def rows(batch):
    """Return the points of a batch as dictionaries, readings first; an unknown latency is None."""
    return [
        {name: None if isinstance(value, float) and isnan(value) else value for name, value in row.items()}
        for row in (*batch.readings.rows(), *batch.polls.rows())
    ]


def rejected_rows(rejected):
    """Return rejected points as `rows` does."""
    return [row for each in rejected for row in rows(each.points)]


def join(batches):
    """Join several batches to one."""
    batches = list(batches)
    readings = [row for batch in batches for row in batch.readings.rows()]
    return PointBatch.of(readings, [row for batch in batches for row in batch.polls.rows()])


def lines(frame, polls=()):
    """Return readings and polls as line protocol."""
    batch = points(frame, polls)
    return LineProtocol(batch).text(0, len(batch)).split("\n")[:-1]


def write(store, frame, polls=()):
    """Store readings and polls; return the rejected points."""
    return store.write(points(frame, polls))
