"""Checks the dashboards' JSON against Grafana's schema, as the classes of the SDK describe it.

The SDK's `from_json` accepts any value. Therefore each file is read into the classes, every value is compared with the
type of its field, and the JSON written from the classes must equal the file: a key outside the schema would be lost.
"""

import enum
import json
import types
import typing
from collections.abc import Iterator
from itertools import chain

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.dashboard import Dashboard, Panel
from support.grafana import dashboards

from dashboards.influxql import InfluxQuery, register

NAMES = ["energy", "fleet_health", "home", "meter"]


@pytest.fixture(autouse=True, scope="module")
def plugins():
    register_default_plugins()
    register()


def violations(value: object, hint: object, path: str) -> Iterator[str]:
    """Yield the path of each value that does not have the type of its field."""
    if hint not in {typing.Any, object}:
        check = CHECKS.get(typing.get_origin(hint), of_class)
        yield from check(value, hint, path)


def of_union(value: object, hint: object, path: str) -> Iterator[str]:
    tried = [list(violations(value, one, path)) for one in typing.get_args(hint)]
    if all(tried):
        yield max((found[0] for found in tried), key=lambda one: len(one.split(": ")[0]))  # the deepest path


def of_literal(value: object, hint: object, path: str) -> Iterator[str]:
    if value not in typing.get_args(hint):
        yield f"{path}: {value!r} is not one of {typing.get_args(hint)}"


def of_list(value: object, hint: object, path: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{path}: {value!r} is not a list"
        return
    for number, one in enumerate(value):
        yield from violations(one, typing.get_args(hint)[0], f"{path}[{number}]")


def of_object(value: object, _hint: object, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path}: {value!r} is not an object"


def of_class(value: object, hint: type, path: str) -> Iterator[str]:
    if issubclass(hint, enum.Enum):
        fits = value in {member.value for member in hint}
    elif hint is float:
        fits = isinstance(value, (int, float)) and not isinstance(value, bool)
    elif hint.__module__ == "builtins":
        fits = type(value) is hint
    else:
        if isinstance(value, dict) and hasattr(hint, "from_json"):  # the SDK does not convert some objects in lists
            value = hint.from_json(value)
        fits = isinstance(value, hint)
        if fits:
            yield from of_fields(value, path)
    if not fits:
        yield f"{path}: {value!r} is not a {hint.__name__}"


CHECKS = {
    typing.Union: of_union,
    types.UnionType: of_union,
    typing.Literal: of_literal,
    list: of_list,
    dict: of_object,
}


def of_fields(value: object, path: str) -> Iterator[str]:
    """Yield the violations within an object of the SDK. InfluxQuery has no schema in the SDK."""
    if isinstance(value, InfluxQuery):
        return
    for name, hint in typing.get_type_hints(type(value)).items():
        yield from violations(getattr(value, name), hint, f"{path}.{name}")


def check(content: dict) -> list[str]:
    parsed = Dashboard.from_json(content)
    found = list(of_fields(parsed, "dashboard"))
    rows = ([panel] if isinstance(panel, Panel) else panel.panels for panel in parsed.panels or [])
    for panel in chain.from_iterable(rows):
        for part in ("options", "field_config"):
            found += of_fields(getattr(panel, part), f"{panel.title}.{part}")
        assert all(isinstance(target, Dataquery) for target in panel.targets)
    written = json.loads(json.dumps(parsed, cls=JSONEncoder))
    return found + (["keys that the schema does not know"] if written != content else [])


@pytest.mark.parametrize("name", NAMES)
def test_every_dashboard_matches_grafanas_schema(name):
    assert check(dashboards()[name]) == []


@pytest.mark.parametrize(
    ("part", "wrong"),
    [
        (("title",), 7),
        (("refrehs",), "1m"),
        (("panels", 0, "gridPos", "w"), "12"),
        (("panels", 0, "fieldConfig", "defaults", "unti"), "percent"),
        (("panels", 0, "options", "reduceOptions", "calcs"), "last"),
        (("templating", "list", 0, "type"), "no_type"),
    ],
)
def test_a_dashboard_with_an_error_is_detected(part, wrong):
    broken = json.loads(json.dumps(dashboards()["fleet_health"]))
    *way, last = part
    place = broken
    for step in way:
        place = place[step]
    place[last] = wrong
    assert check(broken) != []


def test_no_two_panels_overlap():
    for name in NAMES:
        taken = set()
        for panel in dashboards()[name]["panels"]:
            place = panel["gridPos"]
            cells = {(place["x"] + dx, place["y"] + dy) for dx in range(place["w"]) for dy in range(place["h"])}
            assert not cells & taken, f"{name}: {panel['title']}"
            assert place["x"] + place["w"] <= 24
            taken |= cells
