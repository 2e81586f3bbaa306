"""The names of MQTT topics, in which any text of the configuration becomes one valid level (pure).

| topic | content |
| --- | --- |
| `emm/<id>/<measurement>` | a value, as a number |
| `emm/<id>` | with MQTT_FORMAT=json: all values of a poll |
| `emm/status` | `online`, or `offline` (also the last will) |
| `emm/status/<id>` | whether the meter is available: `online` or `offline` |
| `homeassistant/device/emm/<id>/config` | Home Assistant's discovery of a meter |

`emm` is MQTT_TOPIC_PREFIX; `homeassistant` is MQTT_DISCOVERY_PREFIX. No topic of a meter can be that of a status,
because an id is a number.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

Series: TypeAlias = "tuple[str, str | None]"
"""The name and the unit of a measurement."""

ONLINE, OFFLINE = b"online", b"offline"

_RESERVED = frozenset("/+#%")
"""The separator and the wildcards of topics (MQTT 3.1.1, section 4.7), and the escape character."""
_NONCHARACTERS = range(0xFDD0, 0xFDF0)
_PLANE = 0x10000
_MAX_BYTES = 500
"""Maximum length of a level. A topic may have 65 535 bytes; a name in the configuration may be longer, with escapes."""


@lru_cache(maxsize=10_000)
def level(text: str) -> str:
    """Return the text as one level of a topic: reserved characters, `%` and control characters as `%XX` of their UTF-8.

    Brokers close the connection for control characters and for Unicode's noncharacters (MQTT 3.1.1, section 1.5.3). A
    very long name is cut, and a hash of it added.
    """
    escaped = "".join(_escaped(character) if _must_be_escaped(character) else character for character in text)
    encoded = escaped.encode()
    if len(encoded) <= _MAX_BYTES:
        return escaped
    return f"{encoded[:_MAX_BYTES].decode(errors='ignore')}…{hashlib.sha256(text.encode(errors='replace')).hexdigest()}"


def _must_be_escaped(character: str) -> bool:
    code = ord(character)
    return (
        character in _RESERVED
        or unicodedata.category(character) in {"Cc", "Cs"}
        or code in _NONCHARACTERS
        or code % _PLANE >= _PLANE - 2
    )


def _escaped(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "replace"))


def level_names(series: Iterable[Series]) -> dict[Series, str]:
    """Return the level of each series of a meter: its escaped name.

    Names that occur with several units have the unit, too, behind `%20`. No name contains that, because spaces are not
    escaped.
    """
    series = tuple(dict.fromkeys(series))
    times = Counter(name for name, _ in series)
    return {
        (name, unit): level(name) if times[name] == 1 else f"{level(name)}%20{level(unit or '')}"
        for name, unit in series
    }


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one installation."""

    prefix: str = "emm"
    discovery_prefix: str = "homeassistant"

    @property
    def node(self) -> str:
        """The name of the installation in Home Assistant, which allows letters, digits, `_` and `-` in it."""
        return re.sub(r"[^a-zA-Z0-9_-]", "_", self.prefix)

    @property
    def status(self) -> str:
        """The topic that tells whether this installation publishes; its last will."""
        return f"{self.prefix}/status"

    def availability(self, meter_id: int) -> str:
        """Return the topic that tells whether a meter is available."""
        return f"{self.prefix}/status/{meter_id}"

    def json(self, meter_id: int) -> str:
        """Return the topic of all values of a meter."""
        return f"{self.prefix}/{meter_id}"

    def value(self, meter_id: int, name: str) -> str:
        """Return the topic of one value; `name` is from `level_names`."""
        return f"{self.prefix}/{meter_id}/{name}"

    def discovery(self, meter_id: int) -> str:
        """Return the topic of Home Assistant's discovery of a meter."""
        return f"{self.discovery_prefix}/device/{self.node}/{meter_id}/config"

    @property
    def availabilities(self) -> str:
        """The filter for the topics that tell whether meters are available."""
        return f"{self.status}/+"

    def meter_of(self, topic: str) -> int | None:
        """Return the meter whose availability a topic tells; None if it is another topic."""
        found = re.fullmatch(rf"{re.escape(self.status)}/(-?[0-9]{{1,19}})", topic)
        return int(found[1]) if found else None

    @property
    def retained(self) -> tuple[str, ...]:
        """Filters for all topics that may have a retained message of this installation."""
        return f"{self.prefix}/+", f"{self.prefix}/+/+", f"{self.discovery_prefix}/device/{self.node}/+/config"

    def owns(self, topic: str) -> bool:
        """Whether this installation publishes under a topic, or did so for a meter that was removed."""
        prefix, discovery = re.escape(self.prefix), re.escape(f"{self.discovery_prefix}/device/{self.node}")
        return bool(re.fullmatch(rf"{prefix}/-?\d+(/[^/]+)?|{prefix}/status/-?\d+|{discovery}/-?\d+/config", topic))
