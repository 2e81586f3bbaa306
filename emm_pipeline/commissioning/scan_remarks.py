"""Remarks about the result of a scan, besides the units, for the command line and the page (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emm_pipeline.modbus.messages import advise
from emm_pipeline.readings import FailureKind
from emm_pipeline.stores.texts import number_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from emm_pipeline.commissioning.scan_state import Scan

_UNITS_SHOWN = 10


def scan_remarks(state: Scan, timeout_s: float, *, with_options: bool) -> Iterator[str]:
    """Yield remarks about all units, a sentence or two each.

    Args:
        state: The result of the scan.
        timeout_s: How long each unit was given.
        with_options: Whether to name options of `emm scan` that help.
    """
    yield from state.notices
    if state.slow_s:
        more = "--timeout" if with_options else f"{timeout_s:g} s"
        yield f"The gateway takes {state.slow_s:.1f} s to report an absent unit, so each unit got more than {more}."
    for found in state.found:
        if found.late_s is not None:
            alone = f" To identify it, scan it alone: --units {found.unit_id} --timeout {found.late_s * 2:.0f}."
            so = alone if with_options else " So it was not identified."
            took = f"Unit {found.unit_id} is slow: its reply took {found.late_s:.1f} s."
            yield f"{took}{so} Its type needs a longer timeout_s, too."
    for first in dict.fromkeys(each.same_as for each in state.found if each.same_as is not None):
        same = [each.unit_id for each in state.found if each.same_as == first]
        yield (
            f"The device of unit {first} answers to other unit ids, too, with the same counters: {ranges(same)}. "
            f"Only unit {first} is offered."
        )
    if state.all_reply and not any(each.same_as is not None for each in state.found):
        yield "All units answer: this is probably one device that answers to any unit id. Add only one of them."
    for reason in sorted(set(state.unclear.values())):
        units = [str(unit) for unit, why in state.unclear.items() if why == reason]
        named = ", ".join(units[:_UNITS_SHOWN])
        yield f"no valid reply came for {number_of(len(units), 'unit')} ({named}): {reason}"
    if state.found and state.silent:
        longer = " For a unit that needs longer than 5 s, add --timeout." if with_options else ""
        yield f"{number_of(len(state.silent), 'unit')} sent nothing within {timeout_s:g} s.{longer}"
    if not state.found and state.asked:
        yield state.advice or advise(FailureKind.INVALID_REPLY if state.unclear else FailureKind.TIMEOUT)


def ranges(numbers: Sequence[int]) -> str:
    """Return numbers in short: `2-4, 7`."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][-1] + 1:
            parts[-1][1:] = [number]
        else:
            parts.append([number])
    return ", ".join("-".join(map(str, part)) for part in parts)
