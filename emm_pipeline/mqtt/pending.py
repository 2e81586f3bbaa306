"""Unsent messages: for each meter its latest values and whether it is available. Pure; needs NumPy.

A newer poll of a meter replaces its values, so nothing grows while a broker is slow or away: at most one value per
topic waits. Values that are too old are dropped: their topics carry no time, so they would be taken for new ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from emm_pipeline.mqtt.packets import header, json_payload, number, packet
from emm_pipeline.mqtt.topics import OFFLINE, ONLINE, level

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from emm_pipeline.mqtt.meters import PublishedMeter
    from emm_pipeline.mqtt.topics import Series, Topics
    from emm_pipeline.stores.points import PointBatch, Readings


_CLOCK_MS = 60_000
"""Time (ms) in the future from which on the clock was wrong."""


class Sent(NamedTuple):
    """Packets to send together, and the number of messages in them."""

    data: bytes
    messages: int


@dataclass(frozen=True, slots=True)
class Rows:
    """The values of one meter reading: rows `start` to `stop` of a batch. `time` is in milliseconds since 1970, UTC."""

    readings: Readings
    start: int
    stop: int
    time: int

    def items(self) -> list[tuple[Series, float]]:
        """Return each series with its value."""
        readings, rows = self.readings, slice(self.start, self.stop)
        names, units = readings.measurement, readings.unit
        texts = (*units.distinct, None)  # the code -1 is the last
        return [
            ((names.distinct[name], texts[unit]), value)
            for name, unit, value in zip(
                names.codes[rows].tolist(), units.codes[rows].tolist(), readings.value[rows].tolist(), strict=True
            )
        ]


class Pending:
    """Collects polls, and yields the packets to send. Times are in milliseconds since 1970, UTC.

    Another publisher, on a further host, may publish the same meter. So what the broker itself sends tells which
    availability it retains, and a poll is compared with that.

    Args:
        topics: the names of topics.
        as_json: publish the values of a meter together.
        retain: let the broker keep the last values.
    """

    def __init__(self, topics: Topics, *, as_json: bool = False, retain: bool = False) -> None:
        self._topics = topics
        self._as_json = as_json
        self._retain = retain
        self._properties = b""
        self._meters: Mapping[int, PublishedMeter] = {}
        self._values: dict[int, Rows] = {}
        self._available: dict[int, bool] = {}
        self._on_broker: dict[int, bool] = {}
        self._unsent: set[int] = set()
        self._polled: dict[int, int] = {}
        self._known_since: dict[int, int] = {}
        self._headers: dict[int, dict[Series, bytes]] = {}
        self.dropped = 0
        """Number of meter readings that were replaced or became too old before they could be sent."""

    def set_meters(self, meters: Mapping[int, PublishedMeter], now: int) -> None:
        """Publish these meters from now on, and forget all others."""
        self._meters = meters
        self._headers.clear()
        for known in (self._values, self._available, self._on_broker, self._polled, self._known_since):
            for meter_id in known.keys() - meters.keys():
                del known[meter_id]
        self._unsent &= meters.keys()
        for meter_id in meters:
            self._known_since.setdefault(meter_id, now)

    def add(self, batch: PointBatch, now: int) -> None:
        """Add the polls of a batch; those of unknown meters are ignored. An older batch changes nothing."""
        polls = batch.polls
        columns = (polls.id, polls.time, polls.ok | (polls.points > 0))
        for meter_id, time, available in zip(*(column.tolist() for column in columns), strict=True):
            if self._is_newest(meter_id, time, now):
                self._polled[meter_id] = time
                self._set_available(meter_id, available=available)
                if not available and meter_id in self._values:
                    del self._values[meter_id]
                    self.dropped += 1
        readings = _by_meter(batch.readings)
        if not len(readings):
            return
        starts = [0, *(np.flatnonzero(np.diff(readings.id)) + 1).tolist()]
        ids, times = readings.id[starts].tolist(), readings.time[starts].tolist()
        for meter_id, time, start, stop in zip(ids, times, starts, [*starts[1:], len(readings)], strict=True):
            if self._is_newest(meter_id, time, now):
                self._polled[meter_id] = time
                self.dropped += meter_id in self._values
                self._values[meter_id] = Rows(readings, start, stop, time)

    def _is_newest(self, meter_id: int, time: int, now: int) -> bool:
        """Whether a poll is not older than the last one; a poll in the future was made with a wrong clock."""
        if meter_id not in self._meters:
            return False
        last = self._polled.get(meter_id, time)
        return time >= last or last > now + _CLOCK_MS

    def expire(self, oldest: int) -> None:
        """Drop values that were read before `oldest`."""
        for meter_id in [meter_id for meter_id, rows in self._values.items() if rows.time < oldest]:
            del self._values[meter_id]
            self.dropped += 1

    def report_unpolled(self, oldest: int, polled: Mapping[int, int]) -> None:
        """Report meters that were last polled before `oldest` as not available.

        Args:
            oldest: the earliest time of a poll that counts.
            polled: by meter id the time of the last poll on any host.
        """
        for meter_id, since in self._known_since.items():
            # The start of this process counts only if there was no poll: what the broker retains may be old.
            last = max(self._polled.get(meter_id, 0), polled.get(meter_id, 0)) or since
            if last < oldest:  # another host may have reported it as available since
                self._set_available(meter_id, available=False)

    def _set_available(self, meter_id: int, *, available: bool) -> None:
        self._available[meter_id] = available
        if self._on_broker.get(meter_id) is available:
            self._unsent.discard(meter_id)
        else:
            self._unsent.add(meter_id)

    def found(self, topic: str, payload: bytes) -> None:
        """Record a message that the broker has sent, if it is the availability of a meter."""
        meter_id = self._topics.meter_of(topic)
        if meter_id is None or meter_id not in self._meters:
            return
        if payload in {ONLINE, OFFLINE}:
            self._on_broker[meter_id] = payload == ONLINE
        else:
            self._on_broker.pop(meter_id, None)

    def start_again(self, properties: bytes = b"") -> None:
        """Start with an unknown broker; `properties` end the variable header of its version of MQTT."""
        self._on_broker.clear()
        if properties != self._properties:
            self._headers.clear()
        self._properties = properties

    def all_found(self) -> None:
        """Record that the broker has sent every availability that it retains; send those that differ."""
        self._unsent = {id_ for id_, available in self._available.items() if self._on_broker.get(id_) is not available}

    def take(self) -> Iterator[Sent]:
        """Yield the packets to send, meter by meter. What was yielded does not wait any more."""
        while self._unsent:
            meter_id = self._unsent.pop()
            available = self._on_broker[meter_id] = self._available[meter_id]
            topic = header(self._topics.availability(meter_id), self._properties)
            yield Sent(packet(topic, ONLINE if available else OFFLINE, retain=True), 1)
        while self._values:
            meter_id = next(iter(self._values))
            yield self._of_meter(self._meters[meter_id], self._values.pop(meter_id))

    def _of_meter(self, meter: PublishedMeter, rows: Rows) -> Sent:
        items = rows.items()
        if self._as_json:
            values = {meter.levels.get(series) or level(series[0]): value for series, value in items}
            topic = header(self._topics.json(meter.id), self._properties)
            return Sent(packet(topic, json_payload(rows.time, values), retain=self._retain), 1)
        headers = self._headers.setdefault(meter.id, {})
        packets = []
        for series, value in items:
            topic = headers.get(series) or headers.setdefault(series, self._header(meter, series))
            # A series that is not configured (any more) is not retained, because nothing would remove it.
            packets.append(packet(topic, number(value).encode(), retain=self._retain and series in meter.levels))
        return Sent(b"".join(packets), len(packets))

    def _header(self, meter: PublishedMeter, series: Series) -> bytes:
        name = meter.levels.get(series) or level(series[0])
        return header(self._topics.value(meter.id, name), self._properties)


def _by_meter(readings: Readings) -> Readings:
    """Return the readings with those of each meter one after the other."""
    return readings[readings.id.argsort(kind="stable")] if (np.diff(readings.id) < 0).any() else readings
