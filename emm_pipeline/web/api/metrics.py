"""`/metrics` for Prometheus: meters by status, the last poll, the outbox; with `?values=1` also the latest values."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.responses import StreamingResponse

from emm_pipeline.errors import OutboxError
from emm_pipeline.opening import open_outbox
from emm_pipeline.status import State
from emm_pipeline.web.site import site_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client import Metric
    from starlette.requests import Request
    from starlette.responses import Response

    from emm_pipeline.cron import Trigger
    from emm_pipeline.web.live.latest import Layout
    from emm_pipeline.web.site import Site

_AT_ONCE = 200
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


def metrics(request: Request) -> Response:
    """Return the metrics in Prometheus' text format."""
    site = site_of(request)
    registry = CollectorRegistry()
    registry.register(_Pipeline(site))
    with_values = request.query_params.get("values") in {"1", "true"}
    return StreamingResponse(_parts(site, registry, with_values=with_values), media_type=CONTENT_TYPE_LATEST)


def _parts(site: Site, registry: CollectorRegistry, *, with_values: bool) -> Iterator[bytes]:
    yield generate_latest(registry)
    if with_values:
        yield from _values(site)


class _Pipeline(Collector):
    """The metrics of the pipeline as a whole."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering computes nothing."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Yield the present metrics."""
        state = self._site.fleet.get()
        meters = GaugeMetricFamily("emm_meters", "Number of meters by status.", labels=["status"])
        for each in State:
            meters.add_metric([each], state.counts.get(each, 0))
        yield meters
        parts = GaugeMetricFamily("emm_part_ok", "Whether a part of the pipeline is ok.", labels=["part"])
        for part in state.condition.parts:
            parts.add_metric([part.name], part.is_ok)
        yield parts
        yield from self._last_poll()
        yield from self._outbox()

    def _last_poll(self) -> Iterable[Metric]:
        points = "Points of all polls since the start of this server."
        yield CounterMetricFamily("emm_points", points, value=self._site.latest.points_total)
        poll = self._site.latest.last_poll
        if poll is None:
            return
        lateness = lateness_s(self._site.settings().poll_trigger, poll.time)
        for name, text, value in (
            ("emm_poll_timestamp_seconds", "When the last poll began to read.", poll.time / 1000),
            ("emm_poll_duration_seconds", "How long the last poll read.", poll.seconds),
            ("emm_poll_lateness_seconds", "How long after its due time the last poll began to read.", lateness),
            ("emm_poll_meters", "Number of meters of the last poll.", poll.meters),
            ("emm_poll_failed_meters", "Number of meters that the last poll could not read.", poll.failed),
            ("emm_poll_requests", "Number of requests of the last poll.", poll.requests),
            ("emm_poll_points", "Number of points of the last poll.", poll.points),
        ):
            yield GaugeMetricFamily(name, text, value=value)

    def _outbox(self) -> Iterable[Metric]:
        outbox = open_outbox(self._site.settings())
        try:
            waiting, since = len(outbox.names()), outbox.waiting_since()
            rejected = len(outbox.rejected())
        except OutboxError:
            return
        age_s = max(0.0, time.time() - since.timestamp()) if since else 0.0
        yield GaugeMetricFamily("emm_outbox_batches", "Batches of points that wait for the store.", value=waiting)
        yield GaugeMetricFamily("emm_outbox_age_seconds", "Age of the oldest batch that waits.", value=age_s)
        yield GaugeMetricFamily("emm_outbox_rejected_files", "Files of points that the store rejected.", value=rejected)


def lateness_s(trigger: Trigger, began: int) -> float:
    """Return how long after its due time a poll began (ms since 1970), in seconds."""
    moment = datetime.fromtimestamp(began / 1000, UTC)
    tick = trigger.previous_tick(moment + timedelta(milliseconds=1))
    due = max((at for second in trigger.seconds if (at := tick + timedelta(seconds=second)) <= moment), default=tick)
    return max(0.0, (moment - due).total_seconds())


def _values(site: Site) -> Iterator[bytes]:
    names = {each.id: str(each.row.get("description") or "") for each in site.fleet.get().meters if each.id is not None}
    readings = site.latest.all()
    ids = sorted(id_ for id_ in readings if id_ in names)
    yield b"# HELP emm_value The latest value of a measurement.\n# TYPE emm_value gauge\n"
    for start in range(0, len(ids), _AT_ONCE):
        lines = []
        for id_ in ids[start : start + _AT_ONCE]:
            reading = readings[id_]
            meter = f'emm_value{{id="{id_}",description="{_escaped(names[id_])}",'
            rows = zip(_labels(reading.layout), reading.values.tolist(), strict=True)
            lines += [f"{meter}{labels}}} {value!r}\n" for labels, value in rows]
        yield "".join(lines).encode()
    yield b"# HELP emm_read_timestamp_seconds When a meter was read last.\n# TYPE emm_read_timestamp_seconds gauge\n"
    for start in range(0, len(ids), _AT_ONCE):
        chunk = ids[start : start + _AT_ONCE]
        yield "".join(
            f'emm_read_timestamp_seconds{{id="{id_}"}} {readings[id_].time / 1000}\n' for id_ in chunk
        ).encode()


@lru_cache(maxsize=1000)
def _labels(layout: Layout) -> tuple[str, ...]:
    return tuple(
        f'measurement="{_escaped(name)}",unit="{_escaped(unit or "")}"'
        for name, unit in zip(layout.names, layout.units, strict=True)
    )


def _escaped(text: str) -> str:
    return text.translate(_ESCAPES)
