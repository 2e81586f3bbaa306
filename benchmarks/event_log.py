"""How Dagster's event log grows while the schedule polls, and the size that is kept (calculated from that)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from benchmarks.results import Row, at_most
from emm_pipeline.defs.runs import TICK_TAG
from emm_pipeline.polling.report_plan import status_interval
from emm_pipeline.settings import Settings

if TYPE_CHECKING:
    from benchmarks.product import Product

_MINUTES_PER_DAY = 1440
KEPT_HOURS = int(Settings.model_fields["run_retention_hours"].default)


class Growth(NamedTuple):
    """Bytes of an event with its part of the indexes, and events of a tick that records all statuses, and of others."""

    bytes_per_event: float
    of_full_tick: float
    of_tick: float


class EventLog:
    """Measures the event log from its creation on, in which no tick may have been."""

    def __init__(self, product: Product) -> None:
        self._product = product
        self._rows, self._bytes = self._size()

    def _size(self) -> tuple[int, int]:
        (row,) = self._product.dagsters("SELECT count(*), pg_total_relation_size('event_logs') FROM event_logs")
        return row

    def growth(self) -> Growth:
        """Return the growth by the ticks since the creation; the first of them has recorded all statuses."""
        rows, size = self._size()
        by_tick = self._product.dagsters(
            f"""SELECT count(*) FROM event_logs e JOIN run_tags t ON t.run_id = e.run_id AND t.key = '{TICK_TAG}'
                 GROUP BY t.value ORDER BY t.value"""  # noqa: S608 - constants only
        )
        full, *others = (count for (count,) in by_tick)
        return Growth((size - self._bytes) / (rows - self._rows), full, sum(others) / len(others))


def row_kept(meters: int, growth: Growth, most_gb: float | None) -> Row:
    """Return a row with the size of the event log that is kept at the default settings, with a poll a minute.

    It is calculated: the measured bytes of an event, times the measured events of ticks that record all statuses, which
    are as frequent as the default of STATUS_INTERVAL_S says, and of the other ticks, for RUN_RETENTION_HOURS.
    """
    every = max(1.0, status_interval(None, meters).total_seconds() / 60)
    full_ticks = _MINUTES_PER_DAY / every
    per_day = full_ticks * growth.of_full_tick + (_MINUTES_PER_DAY - full_ticks) * growth.of_tick
    size = per_day * KEPT_HOURS / 24 * growth.bytes_per_event / 1e9
    name = f"event log of {meters} meters kept for {KEPT_HOURS} hours, the default (calculated from measured events)"
    return at_most(name, size, "GB", most_gb)
