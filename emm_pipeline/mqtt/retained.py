"""The retained messages of this installation on the broker, and the messages that bring them up to date (pure).

The broker itself tells which there are, so that nothing is left behind by meters that were removed, renamed or replaced
while nothing ran, and no file has to remember it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from emm_pipeline.mqtt.discovery import update_messages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from emm_pipeline.mqtt.meters import PublishedMeter
    from emm_pipeline.mqtt.topics import Topics

    Describe: TypeAlias = Callable[[PublishedMeter], bytes]


class Retained:
    """Compares what the broker retains with what it should retain.

    Args:
        topics: the names of topics.
        describe: returns the discovery of a meter; None if none is published.
        as_json: whether the values of a meter are published together.
        retain: whether values are retained.
    """

    def __init__(self, topics: Topics, describe: Describe | None, *, as_json: bool, retain: bool) -> None:
        self._topics = topics
        self._describe = describe
        self._as_json = as_json
        self._retain = retain
        self._unknown_values: tuple[str, ...] = ()
        self._wanted: dict[str, bytes] = {}
        self._allowed: set[str] = set()
        self._on_broker: dict[str, bytes] = {}
        self._is_known = False

    def set_meters(self, meters: Mapping[int, PublishedMeter]) -> None:
        """Retain the discovery, availability and values of these meters only."""
        # Topics that this process may have published; a message that removes one that does not exist is harmless.
        self._on_broker = dict.fromkeys(self._allowed, b"") | self._on_broker
        topics, describe = self._topics, self._describe
        described = {topics.discovery(meter.id): describe(meter) for meter in meters.values()} if describe else {}
        self._wanted = {topic: payload for topic, payload in described.items() if payload}
        # The discovery of a meter with a configuration issue stays as it is until the issue is corrected.
        self._allowed = set(described) | {topics.availability(meter_id) for meter_id in meters}
        # It is not known which values of it are still configured.
        self._unknown_values = tuple(topics.value(id_, "") for id_, meter in meters.items() if not meter.levels)
        if self._retain:
            self._allowed |= {topic for meter in meters.values() for topic in self._value_topics(meter)}

    def _value_topics(self, meter: PublishedMeter) -> set[str]:
        if self._as_json:
            return {self._topics.json(meter.id)}
        return {self._topics.value(meter.id, name) for name in meter.levels.values()}

    def forget(self) -> None:
        """Start again with an unknown broker: a new connection."""
        self._on_broker.clear()
        self._is_known = False

    def found(self, topic: str, payload: bytes) -> None:
        """Record a retained message that the broker has sent."""
        if payload and self._topics.owns(topic):
            # Only the discoveries are compared. An equal payload is not kept twice.
            wanted = self._wanted.get(topic, b"")
            self._on_broker[topic] = payload if wanted and payload != wanted else wanted

    def all_found(self) -> None:
        """Record that the broker has sent all its retained messages."""
        self._is_known = True

    def take_removals(self) -> Iterator[str]:
        """Yield the topics whose retained message is to be removed, by an empty one."""
        if self._is_known:
            unwanted = sorted(self._on_broker.keys() - self._allowed)
            for topic in [each for each in unwanted if not each.startswith(self._unknown_values)]:
                del self._on_broker[topic]
                yield topic

    def take_discoveries(self) -> Iterator[tuple[str, list[bytes]]]:
        """Yield each topic whose message is to be replaced, with the payloads to send, in order."""
        if self._is_known:
            for topic, payload in self._wanted.items():
                before = self._on_broker.get(topic)
                if before != payload:
                    self._on_broker[topic] = payload
                    yield topic, list(update_messages(before or b"", payload))
