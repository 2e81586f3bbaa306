"""Whether the clock of this computer can be right, judged by times that it must be past (pure).

A small computer without a battery-backed clock, such as a Raspberry Pi, starts with an old time until it reaches a time
server. What it reads meanwhile has wrong times, and may replace older points.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING

import emm_pipeline

if TYPE_CHECKING:
    from datetime import date

BEFORE_READING = timedelta(seconds=5)
"""How far the clock may be behind a stored reading: the clocks of several hosts differ by a moment."""

BEFORE_BUILD = timedelta(days=1)
"""How far the clock may be behind the build date, whose hour is not known."""

WHAT_TO_DO = 'see "A wrong clock" in docs/operation.md'


def clock_issue(now: datetime, newest_reading: datetime | None, built: date = emm_pipeline.BUILD_DATE) -> str | None:
    """Return why the clock must be wrong, on one line, with what to do; None if nothing speaks against it.

    Args:
        now: What the clock shows (UTC).
        newest_reading: When the meters were last read, as far as is known (UTC).
        built: The date of this version of EMM (UTC).
    """
    said = f"the clock of this computer is wrong: it shows {_shown(now)}, but"
    if newest_reading and now < newest_reading - BEFORE_READING:
        return f"{said} a reading of {_shown(newest_reading)} is stored; {WHAT_TO_DO}"
    if now < datetime.combine(built, time(), UTC) - BEFORE_BUILD:
        return f"{said} this version of EMM is of {built}; {WHAT_TO_DO}"
    return None


def _shown(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
