"""Read readings from InfluxDB by InfluxQL, which 1.8 and 2.x understand, and read and write energies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from emm_pipeline.naming import ENERGY_MEASUREMENT, ENERGY_TOTAL_MEASUREMENT, OWN_MEASUREMENTS
from emm_pipeline.stores.energy_points import EnergyPoints
from emm_pipeline.stores.history import History, Selection, StoredSeries
from emm_pipeline.stores.influxdb.energy_totals import EnergyTotals
from emm_pipeline.stores.influxdb.line_protocol import energy_lines

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from emm_pipeline.stores.influxdb.client import InfluxClient

BATCH_LINES = 5000
_YEAR_MS = 400 * 86_400_000
"""How far to search for the reading before a gap."""
_FIELDS = ("energy", "coverage", "cost", "estimated", "readings", "flags", "description")


class InfluxHistory:
    """A `HistoryStore` in InfluxDB."""

    def __init__(self, client: InfluxClient) -> None:
        self._client = client
        self._totals = EnergyTotals(client)

    def read(self, selection: Selection, begin: int, end: int) -> History:
        """See `HistoryStore.read`."""
        return History.joined([*self.export(selection, begin, end)])

    def read_before(self, selection: Selection, time: int, count: int, within: int | None = None) -> History:
        """See `HistoryStore.read_before`."""
        since = time - (_YEAR_MS if within is None else within)
        return History.joined([*self._select(selection, since, time, f" ORDER BY time DESC LIMIT {count}")])

    def read_after(self, selection: Selection, time: int, count: int) -> History:
        """See `HistoryStore.read_after`."""
        return History.joined([*self._select(selection, time, None, f" LIMIT {count}")])

    def first_time(self) -> int | None:
        """See `HistoryStore.first_time`."""
        query = 'SELECT first("value") FROM /.*/ WHERE "dataunit" =~ /^[kMG]?(Wh|varh|VAh|W)$/'
        return min((int(series["values"][0][0]) for series in self._client.series(query)), default=None)

    def read_energy(self, period: str, begin: int, end: int, ids: Collection[int] | None = None) -> EnergyPoints:
        """See `HistoryStore.read_energy`."""
        fields = ", ".join(f'"{name}"' for name in _FIELDS)
        condition = f"\"period\" = '{period}' AND {_between(begin, end)}{_ids(ids)}"
        tags = '"id", "measurement", "dataunit"'
        query = f"SELECT {fields} FROM {ENERGY_MEASUREMENT} WHERE {condition} GROUP BY {tags}"  # noqa: S608
        rows: list[dict[str, Any]] = []
        for series in self._client.series(query):
            key = {**series["tags"], "id": int(series["tags"]["id"]), "period": period}
            rows += (key | dict(zip(series["columns"], values, strict=True)) for values in series["values"])
        return EnergyPoints.of(row for row in rows if row["energy"] is not None)

    def write_energy(self, points: EnergyPoints) -> None:
        """See `HistoryStore.write_energy`."""
        self._remove_costs(points)
        lines = energy_lines(points)
        for start in range(0, len(lines), BATCH_LINES):
            self._client.write("".join(lines[start : start + BATCH_LINES]))
        periods = np.array(points.period.tolist())
        for period in sorted(set(periods.tolist())):
            times = points.time[periods == period]
            self._totals.update(period, int(times.min()), int(times.max()) + 1)

    def _remove_costs(self, points: EnergyPoints) -> None:
        """Delete points with a cost where the new points have none: a field that is not written keeps its value."""
        periods = set(points.period.tolist()) if np.isnan(points.cost).any() else set()
        for period in sorted(filter(None, periods)):
            rows = [each for each in points.rows() if each["period"] == period and np.isnan(each["cost"])]
            times = [row["time"] for row in rows]
            known = self.read_energy(period, min(times), max(times) + 1)
            without = {(row["time"], row["id"], row["measurement"], row["dataunit"]) for row in rows}
            stale = [
                row
                for row in known.rows()
                if not np.isnan(row["cost"])
                and (row["time"], row["id"], row["measurement"], row["dataunit"]) in without
            ]
            for time in sorted({row["time"] for row in stale}):
                # energies of the time that are not among the points are kept
                kept = [row for row in known.rows() if row["time"] == time]
                self._client.delete(ENERGY_MEASUREMENT, f'period="{period}"', time, time + 1)
                again = [row | {"cost": None if row in stale else row["cost"]} for row in kept]
                self._client.write("".join(energy_lines(EnergyPoints.of(again))))

    def delete_readings(self, before: int) -> int:
        """See `HistoryStore.delete_readings`."""
        names = [row[0] for series in self._client.series("SHOW MEASUREMENTS") for row in series["values"]]
        for name in names:
            if name not in {ENERGY_MEASUREMENT, ENERGY_TOTAL_MEASUREMENT}:
                self._client.delete(name, "", 0, before)
        return 0

    def export(self, selection: Selection, begin: int, end: int) -> Iterator[History]:
        """See `HistoryStore.export`."""
        return self._select(selection, begin, end)

    def close(self) -> None:
        """See `HistoryStore.close`."""
        self._client.close()

    def _select(self, selection: Selection, begin: int, end: int | None, rest: str = "") -> Iterator[History]:
        name = selection.measurement
        source = "/.*/" if name is None else '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
        unit = "" if selection.unit is None else f' AND "dataunit" =~ /{selection.unit.replace("/", chr(92) + "/")}/'
        condition = f"{_between(begin, end)}{unit}{_ids(selection.ids)}"
        query = f'SELECT "value" FROM {source} WHERE {condition} GROUP BY "id", "dataunit"{rest}'  # noqa: S608
        for series in self._client.series(query):
            tags = series["tags"]
            if series["name"] in OWN_MEASUREMENTS or not _is_id(tags["id"]):
                continue
            found = StoredSeries(int(tags["id"]), series["name"], tags.get("dataunit") or None)
            rows = [row for row in series["values"] if row[1] is not None]
            times, values = zip(*rows, strict=True) if rows else ((), ())
            yield History((found,), np.zeros(len(rows), np.int64), np.array(times, np.int64), np.array(values, float))


def _between(begin: int, end: int | None) -> str:
    return f"time >= {begin}ms" + ("" if end is None else f" AND time < {end}ms")


def _ids(ids: Collection[int] | None) -> str:
    if ids is None:
        return ""
    return " AND (" + (" OR ".join(f"\"id\" = '{id_}'" for id_ in sorted(ids)) or "\"id\" = ''") + ")"


def _is_id(text: str) -> bool:
    try:
        return str(int(text)) == text
    except ValueError:
        return False
