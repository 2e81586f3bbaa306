"""`/api/latest`: the last reading of every meter; `/api/meters/…/series`: a series of the store."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

from starlette.responses import StreamingResponse

from emm_pipeline.errors import ConfigurationError
from emm_pipeline.opening import open_charts
from emm_pipeline.stores.charts import Series
from emm_pipeline.web.api.replies import json_reply
from emm_pipeline.web.rendering import from_ms
from emm_pipeline.web.site import meter_id_of, site_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from emm_pipeline.web.live.latest import Layout, MeterValues

_AT_ONCE = 200
"""Number of meters in one part of the reply, so that it is never in memory as a whole."""
STEPS = {1: 10, 6: 60, 24: 300, 168: 1800, 720: 7200}
"""Duration of a step in seconds, by the hours that a chart shows."""


def latest(request: Request) -> Response:
    """Return the last reading of every meter, or of those that `id` names (`?id=1&id=2`)."""
    site = site_of(request)
    wanted = {int(text) for text in request.query_params.getlist("id") if text.lstrip("-").isdecimal()}
    readings = site.latest.all()
    if wanted:
        readings = {id_: reading for id_, reading in readings.items() if id_ in wanted}
    names = {each.id: each.row.get("description") for each in site.fleet.get().meters if each.id is not None}
    return StreamingResponse(_parts(readings, names), media_type="application/json")


def _parts(readings: Mapping[int, MeterValues], names: Mapping[int, object]) -> Iterator[str]:
    yield '{"meters":['
    ids = sorted(id_ for id_ in readings if id_ in names)
    for start in range(0, len(ids), _AT_ONCE):
        part = ",\n".join(_reading(id_, readings[id_], names[id_]) for id_ in ids[start : start + _AT_ONCE])
        yield (",\n" if start else "\n") + part
    yield "\n]}\n"


def _reading(id_: int, reading: MeterValues, description: object) -> str:
    values = ",".join(
        f"{beginning}{_number(value)}}}"
        for beginning, value in zip(_beginnings(reading.layout), reading.values.tolist(), strict=True)
    )
    name = json.dumps(None if description is None else str(description), ensure_ascii=False)
    return f'{{"id":{id_},"description":{name},"read_at":"{_iso(reading.time)}","values":[{values}]}}'


@lru_cache(maxsize=1000)
def _beginnings(layout: Layout) -> tuple[str, ...]:
    """Return, for each measurement, its JSON up to the value: they are the same for all meters of a type."""
    return tuple(
        json.dumps({"measurement": name, "unit": unit}, ensure_ascii=False, separators=(",", ":"))[:-1] + ',"value":'
        for name, unit in zip(layout.names, layout.units, strict=True)
    )


@lru_cache(maxsize=10_000)
def _iso(time: int) -> str:
    moment = from_ms(time)
    return moment.isoformat(timespec="milliseconds") if moment else ""


def _number(value: float) -> str:
    return repr(value) if math.isfinite(value) else "null"


def series(request: Request) -> Response:
    """Return a series of the last hours: the mean, the lowest and the highest value of each step."""
    query = request.query_params
    hours = query.get("hours", "24")
    if hours not in set(map(str, STEPS)):
        raise ConfigurationError(f"hours is {hours!r}; allowed: {', '.join(map(str, STEPS))}")
    name = query.get("measurement", "")
    if not name:
        raise ConfigurationError("measurement is missing")
    unit = query.get("unit") or None
    step, end = STEPS[int(hours)], datetime.now(UTC)
    wanted = Series(meter_id_of(request), name, unit)
    with open_charts(site_of(request).settings()) as charts:
        steps = charts.steps(wanted, end - timedelta(hours=int(hours)), end, step)
    return json_reply(
        {
            "measurement": name,
            "unit": unit,
            "step_s": step,
            "times": [each.time for each in steps],
            "mean": [each.mean for each in steps],
            "low": [each.low for each in steps],
            "high": [each.high for each in steps],
        }
    )
