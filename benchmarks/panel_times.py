"""The time that each panel of the dashboard Energy shows, at a fixed moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)
COUNTER = "importActiveEnergy"
MONTH = timedelta(days=30)
YEAR = timedelta(days=365)
OPENINGS = 3
MOST_S = 1.0


def span(panel: dict[str, Any], shown: timedelta) -> tuple[datetime, datetime]:
    """Return the time that a panel shows, now."""
    month = NOW.replace(day=1, hour=0)
    since = {
        None: NOW - shown,
        "now/d": NOW.replace(hour=0),
        "now/M": month,
        "2d": NOW - timedelta(days=2),
        "13M": NOW - timedelta(days=395),
    }[panel.get("timeFrom")]
    if shift := panel.get("timeShift"):
        assert shift == "1M"
        length = month - (month - timedelta(days=1)).replace(day=1)
        return since - length, NOW - length
    return since, NOW
