"""Rises of a counter: which of them cannot be, what is usual, and which of the first readings are wrong (pure)."""

from __future__ import annotations

from bisect import bisect_right
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

from emm_pipeline.energy.amounts import PER_KWH
from emm_pipeline.energy.records import HOUR_MS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from emm_pipeline.energy.records import Counter

SETTLED_AFTER_MS = HOUR_MS
"""A value that does not return within this time is right."""

USUAL_POWER = 1000 * PER_KWH
"""Energy in an hour (1 MWh) above which a rise is suspicious, if `max_power_w` is not set."""

ISOLATED = 100
"""A suspicious rise is a replaced device if it is this many times faster than the rises around it."""

_SMALL_POWER = PER_KWH
"""Energy in an hour (1 kWh) that may begin to flow at any time."""
_COMPARED = 4
"""Number of rises after a 0 that are compared with the one from it."""
_LEVELS = 8
"""Number of levels of the first readings of which one may be the counter's."""


def needs_judgement(rise: int, elapsed_ms: int, counter: Counter) -> bool:
    """Whether a rise is negative, or more than can have flowed in the time."""
    return rise < 0 or rise > highest_rise(counter.max_power or USUAL_POWER, elapsed_ms, counter.step)


def highest_rise(power: int, elapsed_ms: int, step: int) -> int:
    """Return the most energy that can have flowed. An hour at least, because devices may count in large steps."""
    return power * max(elapsed_ms, HOUR_MS) // HOUR_MS + 2 * step


def usual_rate(time: Sequence[int], value: Sequence[int], pairs: Iterable[tuple[int, int]]) -> float | None:
    """Return the energy in an hour of the rises between two readings each; None without any.

    It is the second highest, because the highest may be another event.
    """
    rates = [
        (value[end] - value[begin]) * HOUR_MS / (time[end] - time[begin])
        for begin, end in pairs
        if value[end] >= value[begin]
    ]
    return sorted(rates)[-2 if len(rates) > 2 else -1] if rates else None  # noqa: PLR2004


def first_right(time: Sequence[int], value: Sequence[int], counter: Counter) -> int:
    """Return the index of the first reading that is right. Those before it are a glitch, or the rest of one.

    Args:
        time: Milliseconds, ascending; not empty.
        value: The counter in units of `amounts`.
        counter: What is known of it.
    """
    return _end_of_glitch(time, value, counter) if value[0] else _end_of_zeros(time, value, counter)


def _end_of_glitch(time: Sequence[int], value: Sequence[int], counter: Counter) -> int:
    """Return where the level begins that has the most readings in sequence of the first SETTLED_AFTER; or 0.

    The readings before it are a glitch if their level comes back, or if each of them is at another, lower one.
    """

    def is_same_level(begin: int, index: int) -> bool:
        """Whether a reading hardly differs from an earlier one."""
        return abs(value[index] - value[begin]) <= abs(value[begin]) // 10 + 10 * counter.step

    def in_sequence(begin: int) -> int:
        """Return the largest number of readings in sequence that are at the level of the one at `begin`."""
        at_level = (is_same_level(begin, index) for index in range(begin, until))
        return max(sum(group) for _, group in groupby(at_level))

    until = bisect_right(time, time[0] + SETTLED_AFTER_MS)
    begins = [0, *(each for each in range(1, until) if value[each] and not is_same_level(each - 1, each))][:_LEVELS]
    lengths = {begin: in_sequence(begin) for begin in begins}
    level = max(lengths, key=lengths.__getitem__)
    if any(is_same_level(0, each) for each in range(level, bisect_right(time, time[level] + SETTLED_AFTER_MS))):
        return level
    are_alone = all(lengths[begin] == 1 for begin in begins if begin < level)
    rise = value[level] - value[0]
    return level if are_alone and rise > 0 and needs_judgement(rise, time[level] - time[0], counter) else 0


def _end_of_zeros(time: Sequence[int], value: Sequence[int], counter: Counter) -> int:
    """Return the index of the counter's real value if it is 0 before, for at most SETTLED_AFTER; or 0."""
    real = [index for index in range(len(value)) if value[index]]
    if not real or time[real[0]] - time[0] > SETTLED_AFTER_MS:
        return 0
    first = real[0]
    rise = value[first] * HOUR_MS / (time[first] - time[first - 1])
    usual = usual_rate(time, value, pairwise(real[: _COMPARED + 1]))
    is_wrong = usual is not None and rise > ISOLATED * max(usual, _SMALL_POWER)
    return first if is_wrong and value[first] > 10 * counter.step else 0
