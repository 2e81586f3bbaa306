"""The output of `emm status`: one screen of 80 columns."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from emm_pipeline.cli.local_time import since, told_time
from emm_pipeline.cli.output import printable, say
from emm_pipeline.cli.wrapping import wrapped
from emm_pipeline.runnable import runnable
from emm_pipeline.status import State
from emm_pipeline.stores.texts import number_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from emm_pipeline.condition.meters import MeterCondition
    from emm_pipeline.condition.parts import PipelineCondition
    from emm_pipeline.status import Status

WIDTH = 80
METERS_SHOWN = 5
MOST_CHARACTERS = 230
"""The length of a reason that is shown: three lines."""

_FINE = {State.OK, State.ASLEEP, State.DISABLED, State.NEW}
_WORST_FIRST = (
    State.FAILING,
    State.STALE,
    State.MISCONFIGURED,
    State.WAITING,
    State.DEGRADED,
    State.ASLEEP,
    State.NEW,
    State.DISABLED,
    State.OK,
)


def print_screen(condition: PipelineCondition) -> None:
    """Print whether all is fine, and what has failed: parts first, in the order in which to correct them."""
    say(_headline(condition))
    for part in condition.parts:
        if not part.is_ok:
            _print_entry(part.name, part.status)
        elif part.status.reason:
            _print_wrapped(f"{part.name}: {printable(part.status.reason, MOST_CHARACTERS)}", "")
    if condition.meters is not None:
        _print_meters(condition.meters)


def _headline(condition: PipelineCondition) -> str:
    at = told_time(condition.at)
    if condition.exit_code:
        wrong = [part.name for part in condition.parts if not part.is_ok]
        meters = condition.meters
        bad = sum(each.status.state not in _FINE for each in meters or ())
        told = [", ".join(wrong)] if wrong else []
        told += ["meters unknown"] if meters is None else [f"{bad} of {len(meters)} meters"] if bad else []
        return wrapped(f"NOT OK at {at}: {'; '.join(told)}", WIDTH, others="")
    return f"OK at {at}: everything is fine" if condition.meters else f"OK at {at}: there are no meters yet"


def _print_meters(meters: Sequence[MeterCondition]) -> None:
    counts = Counter(each.status.state for each in meters)
    told = ", ".join(f"{counts[state]} {state}" for state in _WORST_FIRST if counts[state])
    say(f"{number_of(len(meters), 'meter')}: {told}" if meters else "no meters yet: emm scan HOST, or emm meters add")
    entries = list(_entries([each for each in meters if each.status.state not in _FINE]))
    for name, status, labels in entries[:METERS_SHOWN]:
        _print_entry(name, status, labels)
    if len(entries) > METERS_SHOWN:
        say(f"and {len(entries) - METERS_SHOWN} more: emm meters list")


def _entries(meters: Sequence[MeterCondition]) -> Iterator[tuple[str, Status, str]]:
    """Yield name, status and labels of each meter, worst first; meters with the same state and reason share one entry.

    A shared entry has no labels.
    """
    alike: dict[tuple[State, str], list[MeterCondition]] = {}
    for each in sorted(meters, key=lambda meter: _WORST_FIRST.index(meter.status.state)):
        alike.setdefault((each.status.state, _shared_reason(each)), []).append(each)
    for group in alike.values():
        first = group[0]
        if len(group) == 1:
            yield first.name, first.status, ", ".join(f"{name} {text}" for name, text in first.labels.items())
        else:
            ids = ", ".join(str(each.row.get("id")) for each in group[:8]) + ("…" if len(group) > 8 else "")  # noqa: PLR2004
            status = first.status
            if any(each.status.what_to_do != status.what_to_do for each in group):
                status = replace(status, what_to_do=f"{status.what_to_do} (the others likewise, with their ids)")
            yield f"{len(group)} meters ({ids})", status, ""


def _shared_reason(meter: MeterCondition) -> str:
    """Return the reason without the meter's unit id, which is equal for meters that fail for the same cause."""
    reason = (meter.status.reason or "").partition("; failing since")[0]
    return reason.replace(f" unit {meter.row.get('slave_address')}:", ":")


def _print_entry(name: str, status: Status, labels: str = "") -> None:
    _print_wrapped(f"{str(status.state).upper()}  {printable(name, 60)}{since(status.since)}", "")
    if labels:
        _print_wrapped(f"labels: {printable(labels, MOST_CHARACTERS)}", "    ")
    if status.reason:
        _print_wrapped(printable(status.reason, MOST_CHARACTERS), "    ")
    if status.what_to_do:
        _print_wrapped(f"to do: {status.what_to_do}", "    ")


def _print_wrapped(line: str, indent: str) -> None:
    say(wrapped(runnable(line), WIDTH, first=indent))
