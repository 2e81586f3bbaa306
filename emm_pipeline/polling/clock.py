"""Detect a wrong clock of this computer by comparing it with times that have certainly passed (pure).

A small computer without a battery-backed clock, such as a Raspberry Pi, has an old time after its start until it
reaches a time server. Its readings until then have wrong times, and may replace older points.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING

import emm_pipeline

if TYPE_CHECKING:
    from datetime import date

BEFORE_READING = timedelta(seconds=5)
"""How far the clock may be behind a stored reading, because the clocks of several hosts differ a little."""

BEFORE_BUILD = timedelta(days=1)
"""How far the clock may be behind the build date, because its hour is not known."""

WHAT_TO_DO = 'see "A wrong clock" in docs/operation.md'


def clock_issue(now: datetime, newest_reading: datetime | None, built: date = emm_pipeline.BUILD_DATE) -> str | None:
    """Return why the clock must be wrong and what to do, as one line; None if it may be right.

    Args:
        now: The time that the clock shows (UTC).
        newest_reading: The time of the last known reading of the meters (UTC).
        built: The date of this version of EMM (UTC).
    """
    said = f"the clock of this computer is wrong: it shows {_shown(now)}, but"
    if newest_reading and now < newest_reading - BEFORE_READING:
        return f"{said} a reading of {_shown(newest_reading)} is stored; {WHAT_TO_DO}"
    if now < datetime.combine(built, time(), UTC) - BEFORE_BUILD:
        return f"{said} this version of EMM was released on {built}; {WHAT_TO_DO}"
    return None


def _shown(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
