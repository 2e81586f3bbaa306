"""Read the queries in Grafana's files, and replace their variables as Grafana does."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from emm_pipeline.settings import PROJECT_ROOT

PROVISIONING = PROJECT_ROOT / "config" / "grafana"
_VARIABLE = re.compile(r"\$\{(?P<braced>\w+)(?::(?P<format>\w+))?\}|\$(?P<bare>\w+)")


def dashboards() -> dict[str, dict[str, Any]]:
    """Return every committed dashboard by the name of its file."""
    return {path.stem: json.loads(path.read_text()) for path in sorted((PROVISIONING / "dashboards").glob("*.json"))}


def panel_queries() -> Iterator[tuple[str, str, str]]:
    """Yield dashboard, panel and query of every panel."""
    for name, dashboard in dashboards().items():
        for panel in dashboard["panels"]:
            for target in panel["targets"]:
                yield name, panel["title"], target["query"]


def interpolate(query: str, since: datetime, until: datetime, **variables: str | list[str]) -> str:
    """Replace Grafana's own variables and the dashboard's. A variable without a value is an error."""
    span = f"time >= {int(since.timestamp() * 1000)}ms and time <= {int(until.timestamp() * 1000)}ms"
    values: Mapping[str, str | list[str]] = {"timeFilter": span, "__interval": "1m", **variables}

    def fill_in(match: re.Match[str]) -> str:
        value = values[match["braced"] or match["bare"]]
        if match["format"] == "regex":
            several = [re.escape(one).replace("/", r"\/") for one in ([value] if isinstance(value, str) else value)]
            return several[0] if len(several) == 1 else f"({'|'.join(several)})"
        assert isinstance(value, str), f"{match[0]} has several values, and no format for them"
        return value

    return _VARIABLE.sub(fill_in, query)
