"""Keep the sums over all meters beside their energies, so that a dashboard reads one series instead of all of them.

InfluxDB opens each series in each of its shards, one a week: a year of 1000 meters takes seconds. A total is always
read back from the energies of its interval, so it cannot differ from their sum, which is exact: see `energy.amounts`.

The totals of a period are complete from its oldest one on. Those of older energies are added towards the past, after
an upgrade from a version without totals and after an error. So the oldest total tells what is still to be done.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from emm_pipeline.errors import StoreError
from emm_pipeline.naming import ENERGY_MEASUREMENT, ENERGY_TOTAL_MEASUREMENT
from emm_pipeline.stores.influxdb.line_protocol import energy_total_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from emm_pipeline.stores.influxdb.client import InfluxClient

_LENGTH_MS = {"month": 31 * 86_400_000, "day": 86_400_000, "hour": 3_600_000}
"""Greatest length of an interval, of the periods in the order in which they are filled: the fast ones first."""
_INTERVALS = 48
"""Number of intervals whose energies InfluxDB adds in one query."""
_EVERY = "15m"
"""Intervals begin at full quarters of an hour, in every time zone; a query by hours would move those of India."""

_FILL_S = 60.0
"""Time for which a run adds older totals, so that it does not delay the next hour; the next run continues."""

_log = logging.getLogger(__name__)


class EnergyTotals:
    """The points of `emm_energy_total`.

    Args:
        client: The database.
    """

    def __init__(self, client: InfluxClient) -> None:
        self._client = client
        self._is_complete = False
        self._fills_until: float | None = None

    def update(self, period: str, begin: int, end: int) -> None:
        """Write the totals of intervals whose energies were written, and those of older energies that have none yet.

        Args:
            period: `hour`, `day` or `month`.
            begin: Beginning of the first interval, in milliseconds.
            end: End of the last one, or any time after its beginning.

        Raises:
            StoreError: The store does not answer. To write the energies again completes the totals.
        """
        if self._is_complete:
            self._write(period, begin, end)
            return
        oldest = self._oldest(period)
        if oldest is not None and oldest < end:
            self._write(period, max(begin, oldest), end)
        if self._fills_until is None:
            self._fills_until = time.monotonic() + _FILL_S
        try:
            self._is_complete = all(self._add_older(each, self._fills_until) for each in _LENGTH_MS)
        except StoreError as err:
            _log.warning("Totals of older energies are added when energy is computed next: %s", err)

    def _add_older(self, period: str, deadline: float) -> bool:
        """Write the totals of energies before the oldest total, until a time; return whether all have one."""
        oldest = self._oldest(period)
        last = self._last(period, oldest)
        if last is None:
            return True
        # again those that a failed request may have left out
        end = last + 1 if oldest is None else oldest + _step(period)
        while time.monotonic() <= deadline:
            begin = end - _step(period)
            if not self._write_part(period, begin, end):
                last = self._last(period, begin)
                if last is None:
                    return True
                begin = last + 1
            end = begin
        return False

    def _write(self, period: str, begin: int, end: int) -> None:
        """Write the totals of intervals that begin between two times, the latest ones first."""
        while begin < end:
            since = max(begin, end - _step(period))
            self._write_part(period, since, end)
            end = since

    def _write_part(self, period: str, begin: int, end: int) -> bool:
        """Write totals that InfluxDB can add in one query; return whether there are any."""
        condition = f"WHERE \"period\" = '{period}' AND time >= {begin}ms AND time < {end}ms"
        every = f'time({_EVERY}), "measurement", "dataunit" fill(none)'
        columns = 'sum("energy") AS "energy", min("coverage") AS "coverage", sum("cost") AS "cost"'
        energies = f"SELECT {columns} FROM {ENERGY_MEASUREMENT} {condition} GROUP BY {every}"  # noqa: S608
        totals = list(self._rows(energies))
        stored = self._rows(
            f'SELECT "energy", "cost" FROM {ENERGY_TOTAL_MEASUREMENT} {condition} '  # noqa: S608 - own names and numbers
            'GROUP BY "measurement", "dataunit"'
        )
        costs = {_key(row): row["cost"] for row in totals}
        if any(_key(row) not in costs or (row["cost"] is not None and costs[_key(row)] is None) for row in stored):
            # a point, or a field, that is not written would keep its former value
            self._client.delete(ENERGY_TOTAL_MEASUREMENT, f'period="{period}"', begin, end)
        oldest = min((row["time"] for row in totals), default=None)
        # the oldest ones last: once they are there, these are complete
        for rows in ([row for row in totals if (row["time"] == oldest) is is_last] for is_last in (False, True)):
            if rows:
                self._client.write("".join(energy_total_line(row | {"period": period}) for row in rows))
        return bool(totals)

    def _oldest(self, period: str) -> int | None:
        condition = f"WHERE \"period\" = '{period}'"
        return self._time(f'SELECT first("energy") FROM {ENERGY_TOTAL_MEASUREMENT} {condition}')  # noqa: S608

    def _last(self, period: str, before: int | None) -> int | None:
        """Return the time of the last energy before a time."""
        condition = f"WHERE \"period\" = '{period}'" + ("" if before is None else f" AND time < {before}ms")
        return self._time(f'SELECT last("energy") FROM {ENERGY_MEASUREMENT} {condition}')  # noqa: S608

    def _time(self, query: str) -> int | None:
        """Return the time of the only row of a query."""
        return next((int(row["time"]) for row in self._rows(query)), None)

    def _rows(self, query: str) -> Iterator[dict[str, Any]]:
        for series in self._client.series(query):
            for values in series["values"]:
                yield series.get("tags", {}) | dict(zip(series["columns"], values, strict=True))


def _step(period: str) -> int:
    """Return the time whose energies InfluxDB adds in one query, in milliseconds."""
    return _INTERVALS * _LENGTH_MS[period]


def _key(row: dict[str, Any]) -> tuple[int, str, str]:
    return int(row["time"]), row["measurement"], row["dataunit"]
