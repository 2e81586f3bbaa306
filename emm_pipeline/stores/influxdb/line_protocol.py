"""Format points as InfluxDB's line protocol, with times in milliseconds (pure).

    voltageL1,dataunit=V,description=mains,id=1 value=230.5 1772366400000
    emm_poll,description=mains,id=1 ok=1i,requests=2i,points=1i,latency_ms=12.5 1772366400000
    emm_energy,dataunit=kWh,id=1,measurement=importActiveEnergy,period=day energy=12.5,coverage=100.0,… 1772366400000
    emm_energy_total,dataunit=kWh,id=all,measurement=importActiveEnergy,period=day energy=99.5,coverage=… 1772366400000

Tags are in the order in which InfluxDB sorts them; missing tags are omitted. `ok` is 1 or 0, so that its mean is the
rate of success. influxdb_client's `Point` would change some texts, and takes 25 times as long per point (13 µs).
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from emm_pipeline.naming import ENERGY_MEASUREMENT, ENERGY_TOTAL_MEASUREMENT, POLL_MEASUREMENT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from emm_pipeline.stores.energy_points import EnergyPoints
    from emm_pipeline.stores.points import PointBatch, Polls, TextColumn

ALL_METERS = "all"
"""The tag `id` of totals."""
_TAG_ESCAPES = str.maketrans({",": r"\,", "=": r"\=", " ": r"\ "})
_MEASUREMENT_ESCAPES = str.maketrans({",": r"\,", " ": r"\ "})
_STRING_ESCAPES = str.maketrans({'"': r"\"", "\\": r"\\"})


class LineProtocol:
    """A batch of points as line protocol.

    Parts that many lines share are formatted once: a register's measurement and unit, a meter's description, id and
    time. Lines are formatted when they are asked for, because all lines of a large fleet take much memory.
    """

    def __init__(self, points: PointBatch) -> None:
        readings = points.readings
        self._readings, self._polls = readings, points.polls
        self._measurements = [text.translate(_MEASUREMENT_ESCAPES) for text in readings.measurement.distinct]
        self._units = _tags("dataunit", readings.unit)
        self._descriptions = _tags("description", readings.description)
        self._poll_descriptions = _tags("description", points.polls.description)
        # The points of a meter are adjacent.
        self._starts = _changes(readings.time, readings.id, readings.description.codes)
        self._heads: dict[bytes, list[str]] = {}

    def text(self, start: int, stop: int) -> str:
        """Return the lines of a range of points (readings first, as in `PointBatch`), each with its line end."""
        before_polls = len(self._readings)
        polls = self._polls[max(start - before_polls, 0) : max(stop - before_polls, 0)]
        return "".join([*self._reading_lines(start, min(stop, before_polls)), *self._poll_lines(polls)])

    def _reading_lines(self, start: int, stop: int) -> list[str]:
        if start >= stop:
            return []
        first, last = np.searchsorted(self._starts, (start, stop - 1), side="right").tolist()
        starts = [start, *self._starts[first:last].tolist()]
        readings = self._readings[start:stop]
        rows = [begin - start for begin in starts]
        values = readings.value.tolist()
        measurements, units = readings.measurement.codes, readings.unit.codes
        codes, ids, times = (
            column[rows].tolist() for column in (readings.description.codes, readings.id, readings.time)
        )
        lines: list[str] = []
        for begin, end, code, id_, time in zip(rows, [*rows[1:], stop - start], codes, ids, times, strict=True):
            heads = self._heads_of(measurements[begin:end], units[begin:end])
            tail = f"{self._descriptions[code]},id={id_} value="
            stamp = f" {time}\n"
            lines += [f"{head}{tail}{value!r}{stamp}" for head, value in zip(heads, values[begin:end], strict=True)]
        return lines

    def _heads_of(self, measurements: NDArray[Any], units: NDArray[Any]) -> list[str]:
        """Return measurement and unit of the lines with these codes; many meters have the same ones."""
        key = measurements.tobytes() + units.tobytes()
        heads = self._heads.get(key)
        if heads is None:
            pairs = zip(measurements.tolist(), units.tolist(), strict=True)
            heads = self._heads[key] = [f"{self._measurements[code]}{self._units[unit]}" for code, unit in pairs]
        return heads

    def _poll_lines(self, polls: Polls) -> list[str]:
        texts = (polls.error, polls.status)
        errors, statuses = ([*(text.translate(_STRING_ESCAPES) for text in each.distinct), ""] for each in texts)
        columns = (
            *(polls.time, polls.id, polls.description.codes, polls.ok.astype(np.int8), polls.requests, polls.points),
            *(polls.latency_ms, polls.error.codes, polls.status.codes),
        )
        lines = []
        for time, id_, code, ok, requests, points, latency_ms, error, status in zip(
            *(column.tolist() for column in columns), strict=True
        ):
            fields = f"ok={ok}i,requests={requests}i,points={points}i"
            if isfinite(latency_ms):
                fields += f",latency_ms={latency_ms!r}"
            if error >= 0:
                fields += f',error="{errors[error]}"'
            if status >= 0:
                fields += f',status="{statuses[status]}"'
            lines.append(f"{POLL_MEASUREMENT}{self._poll_descriptions[code]},id={id_} {fields} {time}\n")
        return lines


def escaped_measurement(text: str) -> str:
    """Return the name of a measurement for a line."""
    return text.translate(_MEASUREMENT_ESCAPES)


def escaped_tag(text: str) -> str:
    """Return a key, or the value of a tag, for a line."""
    return text.translate(_TAG_ESCAPES)


def escaped_text(text: str) -> str:
    """Return the value of a text field for a line, without its quotes."""
    return text.translate(_STRING_ESCAPES)


def energy_lines(points: EnergyPoints) -> list[str]:
    """Return the lines of energies, each with its line end.

    All fields are in each line, because a field that is left out would keep its former value. Only a cost that is not
    known has no value that could be written.
    """
    lines = []
    for row in points.rows():
        tags = "".join(
            f",{key}={str(row[key]).translate(_TAG_ESCAPES)}" for key in ("dataunit", "id", "measurement", "period")
        )
        fields = f"energy={row['energy']!r},coverage={row['coverage']!r},estimated={row['estimated']!r}"
        if isfinite(row["cost"]):
            fields += f",cost={row['cost']!r}"
        texts = {key: (row[key] or "").translate(_STRING_ESCAPES) for key in ("flags", "description")}
        fields += f',readings={row["readings"]}i,flags="{texts["flags"]}",description="{texts["description"]}"'
        lines.append(f"{ENERGY_MEASUREMENT}{tags} {fields} {row['time']}\n")
    return lines


def energy_total_line(row: Mapping[str, Any]) -> str:
    """Return the line of the energy of all meters in an interval, with its line end; its `cost` may be None.

    The tag `id` is "all", which is no meter's id: with it, a query can read both measurements and never adds them.
    """
    tags = f",dataunit={escaped_tag(row['dataunit'])},id={ALL_METERS},measurement={escaped_tag(row['measurement'])}"
    fields = "".join(f",{key}={float(row[key])!r}" for key in ("coverage", "cost") if row[key] is not None)
    energy = float(row["energy"])
    return f"{ENERGY_TOTAL_MEASUREMENT}{tags},period={row['period']} energy={energy!r}{fields} {row['time']}\n"


def _tags(key: str, texts: TextColumn) -> list[str]:
    """Return the tag of each distinct text, `,key=text`; the last one, for the code -1, is empty."""
    return [*(f",{key}={text.translate(_TAG_ESCAPES)}" for text in texts.distinct), ""]


def _changes(*columns: NDArray[Any]) -> NDArray[np.intp]:
    """Return the rows that differ from the previous row in any of the columns, including the first row."""
    different = np.ones(len(columns[0]), bool)
    different[1:] = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
    return different.nonzero()[0]
