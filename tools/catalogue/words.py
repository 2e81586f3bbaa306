"""Which words of the sources' names contradict the name of a measurement (pure).

Sources name their registers freely, in several languages. A word counts only if it contradicts: a name without any word
of a kind (phase, direction, place, state of a battery) contradicts nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tools.catalogue.facts import load_sources

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from emm_pipeline.registers import Register
    from tools.catalogue.facts import Fact

_PHASES = (
    re.compile(r"(?:^|[^A-Za-z0-9])[Ll]([123])(?![0-9])(?!.{0,3}[Ll][123])|(?<![0-9])L([123])$"),
    re.compile(r"(?i)(?<!p)ph_?([abc])$"),
    re.compile(r"[Pp]hase[ _]?([ABCRST123])(?![A-Za-z])(?![-_ ]?[ABC]\b)"),
)
_DIRECTIONS = {
    "import": re.compile(
        r"import|wh.?(?:imp|abs)|\bpos\b|power\+|positive(?! active elec)|forward|consumption|consumed"
        r"|buy|bought|purchase|from grid|to user|bezug",
        re.IGNORECASE,
    ),
    "export": re.compile(
        r"export|wh.?(?:exp|inj)|\bneg\b|power-|negative(?! active elec)|reverse|production|supply|abgabe"
        r"|sell|sold|feed|delivered|returnenergy|to grid|einspeis",
        re.IGNORECASE,
    ),
    "discharge": re.compile(r"discharg|dsch|edischr|battery.output", re.IGNORECASE),
    "charge": re.compile(r"(?<!dis)(?<!dis )charg|chrg|battery.input", re.IGNORECASE),
}

_DIRECTIONS_OF_EVCC = {
    "battery energy": "discharge",
    "battery returnenergy": "charge",
    "grid energy": "import",
    "grid returnenergy": "export",
}

_PLACES = {
    "battery": re.compile(r"batt?(?![a-z])|batter", re.IGNORECASE),
    "grid": re.compile(r"grid|meter|import|export|buy|sell|feed", re.IGNORECASE),
    "load": re.compile(r"load|consum|house", re.IGNORECASE),
    "backup": re.compile(r"backup|\b(?:eps|ups)\b|off.?grid|bypass", re.IGNORECASE),
    "dc": re.compile(r"pv|\bdc|mppt|string|solar", re.IGNORECASE),
}
"""By the beginning of a measurement's name: the words of sources for the same place."""
_STATES = {
    "Soc": re.compile(r"soc\b|state.of.charge|capacity|level", re.IGNORECASE),
    "Soh": re.compile(r"soh\b|health", re.IGNORECASE),
}


def meaning_differences(register: Register, fact: Fact) -> Iterator[str]:
    """Yield the phase, direction, place or state of a fact that is another than that of the row."""
    phase, other = _phase(register.measurement_name), _phase(fact.quantity)
    if phase and other and phase != other:
        yield f"phase {other}"
    directions, others = _words(register.measurement_name, _DIRECTIONS), _directions(fact)
    if directions and others and not directions & others:
        yield f"{' and '.join(sorted(others))}"
    yield from _place_differences(register.measurement_name, fact.quantity)


def _place_differences(name: str, quantity: str) -> Iterator[str]:
    """Yield the place or state of the source's quantity if it is another than that of a measurement's name."""
    place = next((place for place in _PLACES if name.startswith(place)), None)
    places = _words(quantity, _PLACES)
    if place and places and place not in places:
        yield f"{' and '.join(sorted(places))}"
    state, states = name[-3:], _words(quantity, _STATES)
    if state in _STATES and states and state not in states:
        yield f"{' and '.join(sorted(states))}"


def _phase(name: str) -> str | None:
    for pattern in _PHASES:
        found = pattern.search(name)
        if found:
            text = next(group for group in found.groups() if group)
            return {"A": "1", "B": "2", "C": "3", "R": "1", "S": "2", "T": "3"}.get(text, text)
    return None


def _directions(fact: Fact) -> set[str]:
    known = _DIRECTIONS_OF_EVCC.get(fact.quantity) if load_sources()[fact.project].has_directions else None
    return {known} if known else _words(fact.quantity, _DIRECTIONS)


def _words(text: str, patterns: Mapping[str, re.Pattern[str]]) -> set[str]:
    return {word for word, pattern in patterns.items() if pattern.search(text.replace("_", " "))}
