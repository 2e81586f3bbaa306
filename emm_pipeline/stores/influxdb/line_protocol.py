"""Format points as InfluxDB's line protocol, with times in milliseconds (pure).

    voltageL1,dataunit=V,description=mains,id=1 value=230.5 1772366400000
    emm_poll,description=mains,id=1 ok=1i,requests=2i,points=1i,latency_ms=12.5 1772366400000
    emm_energy,dataunit=kWh,id=1,measurement=importActiveEnergy,period=day energy=12.5,coverage=100.0,… 1772366400000
    emm_energy_total,dataunit=kWh,id=all,measurement=importActiveEnergy,period=day energy=99.5,coverage=… 1772366400000

Tags are in the order in which InfluxDB sorts them; missing tags are omitted. `ok` is 1 or 0, so that its mean is the
rate of success. influxdb_client's `Point` would change some texts, and takes 25 times as long per point (13 µs).
"""

from __future__ import annotations

from itertools import chain
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from emm_pipeline.naming import ENERGY_MEASUREMENT, ENERGY_TOTAL_MEASUREMENT, POLL_MEASUREMENT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from emm_pipeline.stores.energy_points import EnergyPoints
    from emm_pipeline.stores.points import PointBatch, Polls, Readings, TextColumn

ALL_METERS = "all"
"""The tag `id` of totals."""
_TAG_ESCAPES = str.maketrans({",": r"\,", "=": r"\=", " ": r"\ "})
_MEASUREMENT_ESCAPES = str.maketrans({",": r"\,", " ": r"\ "})
_STRING_ESCAPES = str.maketrans({'"': r"\"", "\\": r"\\"})


class LineProtocol:
    """A batch of points as line protocol.

    Parts that many lines share are formatted once: a register's measurement and unit, a meter's description, id and
    time.
    """

    def __init__(self, points: PointBatch) -> None:
        self._readings = _reading_parts(points.readings)
        self._before_polls = len(points.readings)
        self._polls = _poll_lines(points.polls)

    def text(self, start: int, stop: int) -> str:
        """Return the lines of a range of points (readings first, as in `PointBatch`), each with its line end."""
        readings = (part[start:stop] for part in self._readings)
        polls = self._polls[max(start - self._before_polls, 0) : max(stop - self._before_polls, 0)]
        return "".join(chain(chain.from_iterable(zip(*readings, strict=True)), polls))


def _reading_parts(readings: Readings) -> tuple[list[str], ...]:
    """Return the four parts of each line: measurement and unit, description and id, value, time."""
    if not len(readings):
        return ([],)
    units = _tags("dataunit", readings.unit)
    measurements = [text.translate(_MEASUREMENT_ESCAPES) for text in readings.measurement.distinct]
    register_codes = readings.measurement.codes.astype(np.int64) * len(units)
    register_codes += readings.unit.codes.astype(np.int64) % len(units)  # -1, a missing unit, becomes the last tag
    registers, of_register = np.unique(register_codes, return_inverse=True)
    heads = [f"{measurements[code // len(units)]}{units[code % len(units)]}" for code in registers.tolist()]
    # The points of a meter are adjacent.
    starts = _changes(readings.time, readings.id, readings.description.codes)
    counts = np.diff(starts, append=len(readings))
    descriptions = _tags("description", readings.description)
    meters = zip(readings.description.codes[starts].tolist(), readings.id[starts].tolist(), strict=True)
    tails = [f"{descriptions[code]},id={meter_id} value=" for code, meter_id in meters]
    times = [f" {time}\n" for time in readings.time[starts].tolist()]
    return (
        _objects(heads)[of_register].tolist(),
        _objects(tails).repeat(counts).tolist(),
        list(map(repr, readings.value.tolist())),
        _objects(times).repeat(counts).tolist(),
    )


def _poll_lines(polls: Polls) -> list[str]:
    descriptions = _tags("description", polls.description)
    lines = []
    for poll, code in zip(polls.rows(), polls.description.codes.tolist(), strict=True):
        fields = f"ok={int(poll['ok'])}i,requests={poll['requests']}i,points={poll['points']}i"
        if isfinite(poll["latency_ms"]):
            fields += f",latency_ms={poll['latency_ms']!r}"
        if poll["error"]:
            fields += f',error="{poll["error"].translate(_STRING_ESCAPES)}"'
        if poll["status"]:
            fields += f',status="{poll["status"].translate(_STRING_ESCAPES)}"'
        lines.append(f"{POLL_MEASUREMENT}{descriptions[code]},id={poll['id']} {fields} {poll['time']}\n")
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


def _objects(texts: list[str]) -> NDArray[np.object_]:
    """Return an array of references to texts."""
    return np.array(texts, dtype=object)
