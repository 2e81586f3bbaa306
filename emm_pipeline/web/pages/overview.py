"""The overview: every meter with its status, last values and trend; what needs attention first."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from emm_pipeline.config_db.editing.meter_rows import shown_gateway
from emm_pipeline.status import State
from emm_pipeline.web.live.trends import points_of
from emm_pipeline.web.rendering import from_ms, render
from emm_pipeline.web.site import site_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from starlette.requests import Request
    from starlette.responses import Response

    from emm_pipeline.condition.meters import MeterCondition
    from emm_pipeline.web.site import Site

PAGE_SIZE = 100
TREND_WIDTH, TREND_HEIGHT = 90, 24
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Filters:
    """The part of the fleet that is shown."""

    text: str = ""
    state: str = ""
    gateway: str = ""
    by_gateway: bool = False
    page: int = 1

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Filters:
        """Read the filters of an address; what is not valid is ignored."""
        page = query.get("page", "1")
        return cls(
            query.get("q", "")[:_LONGEST].strip(),
            query.get("state", "") if query.get("state") in {*State} else "",
            query.get("gateway", "")[:_LONGEST],
            query.get("group") == "gateway",
            max(1, int(page)) if page.isascii() and page.isdecimal() and len(page) < 7 else 1,  # noqa: PLR2004
        )

    def address(self, **changes: Any) -> str:
        """Return the query of these filters, some of them changed."""
        values = {"q": self.text, "state": self.state, "gateway": self.gateway}
        values |= {"group": "gateway" if self.by_gateway else "", "page": str(self.page) if self.page > 1 else ""}
        return urlencode({key: value for key, value in (values | changes).items() if value})

    def select(self, meters: Sequence[MeterCondition]) -> list[MeterCondition]:
        """Return the meters that match, in their order, or by gateway."""
        wanted = self.text.lower()
        found = [
            meter
            for meter in meters
            if (not self.state or meter.status.state == self.state)
            and (not self.gateway or shown_gateway(meter.row) == self.gateway)
            and (not wanted or wanted in _searched(meter))
        ]
        return sorted(found, key=lambda meter: shown_gateway(meter.row)) if self.by_gateway else found


@dataclass(frozen=True, slots=True)
class Shown:
    """A line of the overview."""

    meter: MeterCondition
    gateway: str
    read_at: datetime | None
    power_w: float | None
    energy_kwh: float | None
    trend: Sequence[str]


def overview(request: Request) -> Response:
    """Show the overview."""
    added = request.query_params.get("added", "")
    is_number = added.isascii() and added.isdecimal() and len(added) < 7  # noqa: PLR2004 - as many as there may be
    return render(request, "overview.html", added=int(added) if is_number else 0, **_content(request))


def overview_rows(request: Request) -> Response:
    """Return the changing part of the overview, which the page asks for every few seconds."""
    return render(request, "overview_rows.html", **_content(request))


def _content(request: Request) -> dict[str, Any]:
    site, filters = site_of(request), Filters.of(request.query_params)
    state = site.fleet.get()
    found = filters.select(state.meters)
    pages = max(1, -(-len(found) // PAGE_SIZE))
    page = min(filters.page, pages)
    now = time.time_ns() // 1_000_000
    chosen = found[(page - 1) * PAGE_SIZE : page * PAGE_SIZE]
    return {
        "filters": filters,
        "rows": [shown(site, meter, now) for meter in chosen],
        "found": len(found),
        "page": page,
        "pages": pages,
        "counts": state.counts,
        "total": len(state.meters),
        "known": state.condition.meters is not None,
        "parts": [part for part in state.condition.parts if not part.is_ok],
        "states": list(State),
        "at": state.condition.at,
        "values_problem": site.follower.problem,
    }


def shown(site: Site, meter: MeterCondition, now: int) -> Shown:
    """Return a meter's line; `now` is in milliseconds since 1970."""
    reading = site.latest.of(meter.id) if meter.id is not None else None
    trend = site.latest.trend_of(meter.id, now) if meter.id is not None else []
    return Shown(
        meter,
        shown_gateway(meter.row),
        meter.last_read_at if reading is None else max(filter(None, (from_ms(reading.time), meter.last_read_at))),
        reading.power_w if reading else None,
        reading.energy_kwh if reading else None,
        points_of(trend, TREND_WIDTH, TREND_HEIGHT),
    )


def _searched(meter: MeterCondition) -> str:
    row = meter.row
    texts = (row.get("id"), row.get("description"), row.get("host"), row.get("port"), row.get("type"))
    return " ".join(map(str, (*texts, *meter.labels.values()))).lower()
