"""Show what a scan has found: the units, their possible types, and what tells these apart."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from emm_pipeline.cli.links import link_of
from emm_pipeline.cli.output import say
from emm_pipeline.cli.showing.tables import print_table, shown
from emm_pipeline.commissioning.candidates import RIVAL_BITS, Confidence, alike, is_decided, rivals
from emm_pipeline.commissioning.scan_remarks import scan_remarks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from emm_pipeline.commissioning.candidates import Candidate
    from emm_pipeline.commissioning.scan_state import FoundUnit, Scan
    from emm_pipeline.fleet import GatewayAddress

MOST_SHOWN = 4
"""Number of possible types of a unit that are shown; `--json` has all."""

MOST_DIFFERENCES = 5
"""Number of measurements that are shown to tell two types apart."""


def print_units(gateway: GatewayAddress, state: Scan, timeout_s: float) -> None:
    """Print the units that a scan has found, and remarks about all units."""
    if state.found:
        headers = ("unit", "answer", "ms", "type", "how sure")
        rows = [row for found in state.found if found.same_as is None for row in _rows(found)]
        print_table(headers, rows, right=("unit", "ms"), below=("how sure",))
        say()
        for found in state.found:
            if found.labels:
                texts = ", ".join(f"{name} {text}" for name, text in found.labels.items())
                say(f"unit {found.unit_id}: {texts}")
    over = f" over {gateway.name}" if link_of(gateway) else ""
    say(f"{len(state.found)} of {state.asked} units answer{over}")
    for line in scan_remarks(state, timeout_s, with_options=True):
        say(line)
    for found in state.found:
        _print_differences(found)
        _print_alike(found)


def _rows(found: FoundUnit) -> Iterator[tuple[object, ...]]:
    first, *others = _named(found)
    yield found.unit_id, _said(found), f"{found.reply.seconds * 1000:.0f}", *first
    for name, sure in others[: MOST_SHOWN - 1]:
        yield "", "", "", f"or {name}", sure
    if len(others) >= MOST_SHOWN:
        yield "", "", "", f"or {len(others) - MOST_SHOWN + 1} others", ""


def _said(found: FoundUnit) -> str:
    if found.reply.exception_code is not None:
        return f"exception {found.reply.exception_code}"
    return found.reply.reason or f"0x{found.reply.words[0]:04X}"


def _named(found: FoundUnit) -> list[tuple[str, str]]:
    if found.candidates is None:
        return [("not compared with the catalogue", "")]
    if not found.candidates:
        return [("not in the catalogue", "")]
    first = found.candidates[0]
    equal, contradicting = alike(found.candidates), rivals(found.candidates)

    def is_told(other: Candidate) -> bool:
        """Whether a type is as certain, or another order of the first type nearly as likely, or its values the same."""
        is_certain = other.confidence == first.confidence or other in contradicting
        is_order = other.type.startswith(first.type)
        return other in equal or (is_certain and (not is_order or other.bits > first.bits - RIVAL_BITS))

    told = filter(is_told, found.candidates[1:])
    return [(each.type, how_sure(each)) for each in (first, *told)]


def how_sure(candidate: Candidate) -> str:
    """Return how sure a type is, and why."""
    fit = candidate.sent - len(set(candidate.odd))
    counts = f"{max(fit, 0)} of {candidate.registers} registers fit"
    if candidate.proven:
        return "proven by its id"
    return f"{'likely' if candidate.confidence is Confidence.LIKELY else 'perhaps'}, {counts}"


def _print_alike(found: FoundUnit) -> None:
    """Say that a unit's values do not tell some types apart, and what would."""
    if not found.candidates or not (others := alike(found.candidates)):
        return
    first = found.candidates[0]
    names = _enumerated([each.type for each in (first, *others[: MOST_SHOWN - 1])])
    say()
    say(
        f"Unit {found.unit_id}: {names} fit equally well, with the same values. The label on the device says which "
        f"type it is.{_what_would_tell(first, others)}"
    )


def _enumerated(names: Sequence[str]) -> str:
    """Return two or more names as a part of a sentence."""
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _what_would_tell(first: Candidate, others: Sequence[Candidate]) -> str:
    largest = max((first, *others), key=lambda each: len(each.values))
    smallest = min((first, *others), key=lambda each: len(each.values))
    added = [name for name in largest.values if name not in smallest.values]
    if not added:
        return ""
    under_load = [name for name in added if re.search("current|power", name, re.IGNORECASE)] or added
    further = len(added) - len(under_load[:2])
    shown_names = ", ".join(under_load[:2]) + (f" and {further} others" if further else "")
    return (
        f" Only {largest.type} has {shown_names}; all of them are 0 now. Scan again while current flows: if one is not "
        f"0 then, it is {largest.type}."
    )


def _print_differences(found: FoundUnit) -> None:
    """Print what tells a unit's possible types apart, if it is not decided which one it is."""
    if not found.candidates or is_decided(found.candidates):
        return
    first = found.candidates[0]
    others = rivals(found.candidates)[: MOST_SHOWN - 1]
    if not others:
        say()
        say(f"Unit {found.unit_id} is perhaps of type {first.type}. Compare with its display or manual:")
        say()
        _print_values([first], list(first.values))
        return
    say()
    say(f"Unit {found.unit_id} may be of {len(others) + 1} types. These values tell them apart on its display:")
    say()
    names = dict.fromkeys(name for other in others for name in first.differences(other))
    _print_values([first, *others], list(names))


def _print_values(candidates: Sequence[Candidate], names: Sequence[str]) -> None:
    units = {each.measurement_name: each.data_unit for each in candidates[0].entry.registers}
    telling = sorted(names, key=lambda name: not any(each.values.get(name) for each in candidates))
    rows = [
        (name, *(_shown(each.values.get(name)) for each in candidates), units.get(name))
        for name in telling[:MOST_DIFFERENCES]
    ]
    headers = ("measurement", *(each.type for each in candidates), "in")
    print_table(headers, rows, right=headers[1:-1], below=headers[-2:1:-1])


def _shown(value: float | None) -> str:
    return "" if value is None else shown(value)
