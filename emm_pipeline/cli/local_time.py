"""Times for people, in the time zone of the setting TZ. Output for programs (`--json`) is always in UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import click

from emm_pipeline.settings import all_variables

if TYPE_CHECKING:
    from datetime import tzinfo
    from pathlib import Path


def zone() -> tzinfo:
    """Return the time zone of the settings; UTC if there is none with this name."""
    context = click.get_current_context(silent=True)
    return _zone(context.find_root().obj or () if context else ())


@lru_cache(maxsize=1)
def _zone(env_files: tuple[Path, ...]) -> tzinfo:
    try:
        return ZoneInfo(all_variables(*env_files).get("TZ") or "UTC")
    except (KeyError, ValueError, OSError):
        return UTC


def zone_name() -> str:
    """Return the name of the time zone, for the heading of a column."""
    return str(zone())


def shown_time(time: datetime | None) -> str:
    """Return a time as date and time of day, for a column whose heading names the zone; nothing for None."""
    return f"{time.astimezone(zone()):%Y-%m-%d %H:%M:%S}" if time else ""


def time_of_day(time: datetime) -> str:
    """Return a time without its date, for lines that appear as time passes."""
    return f"{time.astimezone(zone()):%H:%M:%S}"


def told_time(time: datetime) -> str:
    """Return a time for a sentence, with the abbreviation of the zone at that time: `2026-07-01 12:00:00 CEST`."""
    return f"{time.astimezone(zone()):%Y-%m-%d %H:%M:%S %Z}"


def since(time: datetime | None) -> str:
    """Return ` since TIME`, to continue a sentence; nothing for None."""
    return f" since {told_time(time)}" if time else ""
