"""Judge the readings of one counter: glitches, resets, replaced devices and rollovers (pure).

Only counters that fall, or that rise by more than can have flowed, are judged; the values of all others are right as
they are. What a fall means shows later: a value that returns within SETTLED_AFTER was a glitch, one that stays was a
reset. Until then the readings since the fall are left out, and the series is unsettled.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from emm_pipeline.energy.records import HOUR_MS, Counter, Flag
from emm_pipeline.energy.rises import (
    ISOLATED,
    SETTLED_AFTER_MS,
    USUAL_POWER,
    first_right,
    highest_rise,
    needs_judgement,
    usual_rate,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

_GRADUAL = 4
"""A rise after a fall is consumption, not a return, if it is not faster than this times the rises around it."""
_NEIGHBOURS = 8
_NEXT = 4
"""Number of rises before and after an event that are compared; after it, the readings are not judged yet."""
_SPIKE_READINGS = 3
"""Number of readings of a glitch upwards by a plausible amount."""
_ROUNDING = 1e-6
"""Part of its value by which a counter may fall because devices compute with numbers of 24 bits."""


@dataclass(slots=True)
class Judged:
    """The accepted readings of a counter, by their index, with the energy and flags since the accepted one before."""

    kept: list[int] = field(default_factory=list)
    gains: list[int] = field(default_factory=list)
    flags: list[int] = field(default_factory=list)
    glitches: list[int] = field(default_factory=list)
    unsettled: bool = False

    def accept(self, index: int, gain: int, flag: int = 0) -> None:
        """Add a reading."""
        self.kept.append(index)
        self.gains.append(gain)
        self.flags.append(flag)

    def withdraw(self) -> None:
        """Make the last accepted reading a glitch."""
        self.glitches.append(self.kept.pop())
        self.gains.pop()
        self.flags.pop()


class Scan:
    """Judges the readings of one counter, oldest first.

    Args:
        time: Milliseconds.
        value: The counter in units of `amounts`; rises while energy flows.
        counter: What is known of it.
    """

    def __init__(self, time: Sequence[int], value: Sequence[int], counter: Counter) -> None:
        self._time = time
        self._value = value
        self._counter = counter
        self._judged = Judged()

    def run(self) -> Judged:
        """Judge all readings."""
        judged, value = self._judged, self._value
        index = first_right(self._time, value, self._counter)
        judged.glitches += range(index)
        judged.accept(index, 0)
        index += 1
        while index < len(value):
            last = judged.kept[-1]
            rise = value[index] - value[last]
            if not needs_judgement(rise, self._time[index] - self._time[last], self._counter):
                judged.accept(index, rise)
                index += 1
            else:
                index = self._fall(last, index) if rise < 0 else self._jump(last, index)
        return judged

    def _fall(self, last: int, index: int) -> int:
        """Judge a reading that is below the last accepted one; return the next index to judge."""
        judged, value, high = self._judged, self._value, self._value[last]
        fall = high - value[index]
        tolerance = max(self._counter.step, round(abs(high) * _ROUNDING))
        is_rounding = fall <= tolerance
        back = self._first_at_least(high, index)
        if back is not None and (is_rounding or self._returns(last, index, back)):
            if not is_rounding:
                judged.glitches += range(index, back)
            return back
        if (gain := self._rollover(last, index)) is not None:
            judged.accept(index, gain, Flag.ROLLOVER)
            return index + 1
        if is_rounding:
            judged.accept(index, 0)
            return index + 1
        if self._withdraw_spike(index):
            return index
        if back is None and self._is_recent(index):
            judged.unsettled = True
            return len(value)
        judged.accept(index, 0, Flag.RESET)
        return index + 1

    def _jump(self, last: int, index: int) -> int:
        """Judge a reading that is higher than can be; return the next index to judge."""
        judged, value = self._judged, self._value
        elapsed = self._time[index] - self._time[last]
        rise = value[index] - value[last]
        if not self._counter.max_power:
            usual = self._rate_around(last, index)
            if usual is not None and rise * HOUR_MS / max(elapsed, HOUR_MS) <= ISOLATED * usual:
                judged.accept(index, rise)
                return index + 1
        for back in range(index + 1, len(value)):
            if self._time[back] - self._time[index] > SETTLED_AFTER_MS:
                break
            fits = not needs_judgement(value[back] - value[last], self._time[back] - self._time[last], self._counter)
            if value[back] < value[index] and fits:
                judged.glitches += range(index, back)
                return back
        if self._is_recent(index):
            judged.unsettled = True
            return len(value)
        judged.accept(index, 0, Flag.REPLACED)
        return index + 1

    def _rollover(self, last: int, index: int) -> int | None:
        """Return the energy if the register has begun at 0 again; None if that cannot be."""
        modulus, step = self._counter.modulus, self._counter.step
        gain = self._value[index] - self._value[last] + modulus
        if not modulus or not 0 <= gain <= modulus // 4:
            return None
        elapsed = self._time[index] - self._time[last]
        if self._counter.max_power:
            return gain if gain <= highest_rise(self._counter.max_power, elapsed, 2 * step) else None
        usual = self._rate_around(last, index) or 0.0
        highest = highest_rise(min(USUAL_POWER, round(10 * usual)), elapsed, 2 * step)
        highest = max(highest, min(modulus // 4096, USUAL_POWER))  # a reset is hardly ever so near to the end
        if elapsed > HOUR_MS:  # what flowed in a gap may have little to do with what flowed around it
            highest = max(highest, min(modulus // 16, highest_rise(USUAL_POWER, elapsed, 2 * step)))
        return gain if gain <= highest else None

    def _first_at_least(self, high: int, index: int) -> int | None:
        """Return the index of the first reading from `index` on that reaches a value in time."""
        for back in range(index, len(self._value)):
            if self._time[back] - self._time[index] > SETTLED_AFTER_MS:
                return None
            if self._value[back] >= high:
                return back
        return None

    def _returns(self, last: int, index: int, back: int) -> bool:
        """Whether a counter that fell at `index` returned at `back`, and did not reach the old value by counting."""
        value, time = self._value, self._time
        if 2 * (value[back] - value[back - 1]) >= value[back] - value[index]:
            return True
        usual = self._rate_around(last, back)
        rate = (value[back] - value[index]) * HOUR_MS / (time[back] - time[index])
        if self._counter.max_power and rate > self._counter.max_power:
            return True
        return usual is not None and rate > _GRADUAL * usual

    def _withdraw_spike(self, index: int) -> bool:
        """Withdraw the last few accepted readings if the counter continues from the one before them."""
        judged, value = self._judged, self._value
        for count in range(1, min(_SPIKE_READINGS, len(judged.kept) - 1) + 1):
            base = judged.kept[-1 - count]
            if self._time[index] - self._time[base] > SETTLED_AFTER_MS:
                return False
            if 0 < value[base] <= value[index]:
                for _ in range(count):
                    judged.withdraw()
                return True
        return False

    def _is_recent(self, index: int) -> bool:
        """Whether the readings end before it shows what the one at `index` means."""
        return self._time[-1] - self._time[index] < SETTLED_AFTER_MS

    def _rate_around(self, last: int, index: int) -> float | None:
        """Return the energy in an hour of the rises before `last` and after `index`; None without any."""
        pairs = [(each - 1, each) for each in range(index + 1, min(index + 1 + _NEXT, len(self._value)))]
        kept = self._judged.kept[-1 - _NEIGHBOURS :]
        pairs += [pair for pair in pairwise(kept) if pair[1] <= last]
        return usual_rate(self._time, self._value, pairs)
