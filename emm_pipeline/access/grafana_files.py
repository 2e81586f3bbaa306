"""The files that Grafana reads at its start: how it logs in to InfluxDB, and the settings of its alert rules.

Grafana replaces `$NAME` also in the content of these files by environment variables.
"""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emm_pipeline.settings import Settings

_SHORTEST_WINDOW = timedelta(minutes=15)
"""A unit that keeps failing is polled at least every 5 minutes, so this is the time of three attempts."""
_LATENESS = timedelta(minutes=5)


def grafana_files(settings: Settings, read_token: str) -> dict[str, str]:
    """Return the files by name; `read_token` is the token with which Grafana reads InfluxDB."""
    window = alert_window(settings.poll_trigger.longest_interval())
    return {
        "influxdb_token": read_token,
        "influxdb_authorization": authorization(read_token),
        "influxdb_database": settings.influxdb_bucket.partition("/")[0],
        "alerts_paused": "false" if settings.grafana_alerts else "true",
        "alert_window": f"{int(window.total_seconds())}s",
        "alert_window_text": _as_text(window),
    }


def authorization(token: str) -> str:
    """Return the header Authorization for a token (2.x) or `user:password` (1.8), without a `$`."""
    if "$" not in token:
        return f"Token {token}"
    pair = token if ":" in token else f"emm:{token}"  # 2.x accepts a token as the password of any user
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def alert_window(longest_interval: timedelta) -> timedelta:
    """Return the time without readings after which an alert is raised: two polls must be missing."""
    return max(_SHORTEST_WINDOW, 2 * longest_interval + _LATENESS)


def _as_text(duration: timedelta) -> str:
    hours, minutes = divmod(int(duration.total_seconds()) // 60, 60)
    parts = [(hours, "hour"), (minutes, "minute")]
    return " ".join(f"{number} {unit}{'s' if number > 1 else ''}" for number, unit in parts if number)
