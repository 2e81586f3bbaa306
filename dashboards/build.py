"""Write the files in config/grafana/: `make dashboards`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards import alerts, energy, fleet, home, meter

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders.dashboard import Dashboard

GRAFANA = Path(__file__).resolve().parents[1] / "config" / "grafana"


def files() -> dict[Path, str]:
    """Return the content of each file by its path."""
    dashboards = {
        "home": home.build(),
        "meter": meter.build(),
        "energy": energy.build(),
        "fleet_health": fleet.build(),
    }
    written = {GRAFANA / "dashboards" / f"{name}.json": _dashboard(each) for name, each in dashboards.items()}
    # Grafana expects YAML here; JSON is valid YAML.
    return {**written, GRAFANA / "alerting" / "rules.yml": _json(alerts.build())}


def _dashboard(dashboard: Dashboard) -> str:
    return _json(dashboard.build())


def _json(content: object) -> str:
    return json.dumps(content, cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for path, text in files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        print(f"wrote {path.relative_to(GRAFANA.parents[1])}")  # noqa: T201  # a command's output
