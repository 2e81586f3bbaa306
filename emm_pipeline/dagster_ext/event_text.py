"""The serialized form of many asset events of one step, which differ in partition, message and metadata only.

Dagster's own serializer takes 0.2 ms per event, as long as reading a meter. Here it serializes one event with
placeholders; the text of each event is this text with the placeholders replaced. What can be replaced in this way is
compared with Dagster's own text in tests/dagster_ext/test_event_text.py.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import Any, TypeAlias

from dagster import (
    AssetKey,
    AssetMaterialization,
    AssetObservation,
    EventLogEntry,
    FloatMetadataValue,
    IntMetadataValue,
    MetadataValue,
    TextMetadataValue,
    TimestampMetadataValue,
    UrlMetadataValue,
)

from emm_pipeline.dagster_ext.internals import serialize_value

AssetEvent: TypeAlias = AssetMaterialization | AssetObservation
EntryOf: TypeAlias = Callable[[Any, str], EventLogEntry]
"""Returns the entry of the event log for an asset event and its message."""

_COMPACT = (",", ":")
_LABEL, _VALUE = "\0label", "\0value"
_MESSAGE, _PARTITION, _METADATA = "\0message", "\0partition", "\0metadata"
_PLACES = re.compile(
    f"({'|'.join(re.escape(json.dumps(each)) for each in (_MESSAGE, _PARTITION, _METADATA, _LABEL, _VALUE))})"
)
_EXAMPLES: dict[type, tuple[MetadataValue[Any], object]] = {
    TextMetadataValue: (MetadataValue.text(_VALUE), _VALUE),
    UrlMetadataValue: (MetadataValue.url(_VALUE), _VALUE),
    IntMetadataValue: (MetadataValue.int(12_345), 12_345),
    FloatMetadataValue: (MetadataValue.float(0.125), 0.125),
    TimestampMetadataValue: (MetadataValue.timestamp(0.125), 0.125),
}
"""By kind of metadata, an example and the value that its serialized form contains."""


class EventTexts:
    """Serializes the asset events of one step.

    Args:
        entry_of: Creates the entry of an event; its time is that of all events.
        kind: The class of the events.
        asset_key: The asset of the events.
    """

    def __init__(
        self, entry_of: EntryOf, kind: type[AssetMaterialization | AssetObservation], asset_key: AssetKey
    ) -> None:
        self.example = entry_of(kind(asset_key, partition=_PARTITION), _MESSAGE)
        """An entry whose message and partition are placeholders."""
        self._entry_of = entry_of
        self._parts = _split(self.example)

    def of(self, event: AssetEvent, message: str) -> str:
        """Return the text of the event's entry, which Dagster reads like its own.

        Raises:
            ValueError: The event has tags, which Dagster also writes into a table of their own.
        """
        if event.tags:
            raise ValueError(f"the event of partition {event.partition} has tags: store it with store_event_batch")
        metadata = None if event.description is not None else _metadata_text(event.metadata)
        if metadata is None or event.partition is None:
            return str(serialize_value(self._entry_of(event, message)))
        places = {
            _MESSAGE: encode_basestring_ascii(message),
            _PARTITION: encode_basestring_ascii(event.partition),
            _METADATA: metadata,
        }
        return "".join(places[part[1]] if part[0] else part[1] for part in self._parts)


def _split(example: EventLogEntry) -> list[tuple[bool, str]]:
    """Return the parts of the text of an entry, each with whether it is a placeholder."""
    packed = json.loads(serialize_value(example))
    _replace_metadata(packed)
    return _parts(packed)


def _parts(packed: object) -> list[tuple[bool, str]]:
    parts = _PLACES.split(json.dumps(packed, separators=_COMPACT))
    return [(True, json.loads(part)) if number % 2 else (False, part) for number, part in enumerate(parts)]


def _replace_metadata(packed: Any) -> None:
    """Replace each list of metadata in the packed form of an entry by the placeholder."""
    if isinstance(packed, dict):
        for key, value in packed.items():
            if key == "metadata_entries":
                packed[key] = _METADATA
            else:
                _replace_metadata(value)


def _metadata_text(metadata: Mapping[str, MetadataValue[Any]]) -> str | None:
    """Return the serialized metadata; None if it contains a kind that is not in _EXAMPLES."""
    texts = []
    for label, each in metadata.items():
        if type(each) not in _EXAMPLES:
            return None
        before, after = _around_value(type(each), label)
        texts.append(f"{before}{_number_or_text(each.value)}{after}")
    return f"[{','.join(texts)}]"


@lru_cache(maxsize=1000)
def _around_value(kind: type, label: str) -> tuple[str, str]:
    """Return the serialized form of metadata with this label, before and after the value."""
    example, shown = _EXAMPLES[kind]
    event = AssetMaterialization(AssetKey("example"), metadata={_LABEL: example})
    (packed,) = json.loads(serialize_value(event))["metadata_entries"]
    data = packed["entry_data"]
    data |= {key: _VALUE for key, value in data.items() if value == shown}
    parts = _parts(packed)
    value_at = parts.index((True, _VALUE))
    texts = [encode_basestring_ascii(label) if part == (True, _LABEL) else part[1] for part in parts]
    return "".join(texts[:value_at]), "".join(texts[value_at + 1 :])


def _number_or_text(value: object) -> str:
    if type(value) is str:
        return encode_basestring_ascii(value)
    if type(value) is float and math.isfinite(value):
        return repr(value)
    return json.dumps(value)
