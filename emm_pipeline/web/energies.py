"""The energy of meters for the page and the API, which `energy/` has computed and the readings store contains."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from emm_pipeline.config_db.energy_rows import load_energy_rows
from emm_pipeline.energy.periods import Period, midnight, milliseconds, month_of
from emm_pipeline.energy.shown import energy_records
from emm_pipeline.errors import ConfigurationError, StoreError
from emm_pipeline.opening import open_history
from emm_pipeline.web.api.replies import json_reply
from emm_pipeline.web.rendering import render
from emm_pipeline.web.site import meter_id_of, site_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from emm_pipeline.settings import Settings

LONGEST = {Period.HOUR: timedelta(days=32), Period.DAY: timedelta(days=800), Period.MONTH: timedelta(days=8000)}
"""The maximum time between the first and the last day of one request, by period."""


@dataclass(frozen=True, slots=True)
class EnergyOfMeter:
    """The energy of a counter today, up to the last computed hour, and in this month; coverage of today in percent."""

    measurement: str
    unit: str
    today: float
    month: float
    coverage: float | None


def meter_energy(request: Request) -> Response:
    """Return the part of a meter's page with its energy."""
    found: Sequence[EnergyOfMeter] = ()
    error = None
    try:
        found = energy_now(site_of(request).settings(), meter_id_of(request), datetime.now(UTC))
    except StoreError as err:
        error = str(err)
    return render(request, "meter_energy.html", energies=found, error=error)


def energy_now(settings: Settings, meter_id: int, now: datetime) -> list[EnergyOfMeter]:
    """Return the energy of a meter's counters today and in this month, in the time zone of the installation.

    Raises:
        StoreError: The store does not answer.
    """
    zone = ZoneInfo(settings.tz)
    today = now.astimezone(zone).date()
    begin, first = milliseconds(midnight(today, zone)), milliseconds(midnight(month_of(today), zone))
    with open_history(settings) as history:
        hours = list(history.read_energy(Period.HOUR, begin, milliseconds(now), [meter_id]).rows())
        days = list(history.read_energy(Period.DAY, first, begin, [meter_id]).rows())
    sums: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0, 0.0])
    covered: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in hours:
        key = row["measurement"], row["dataunit"] or ""
        sums[key][0] += row["energy"]
        covered[key].append(row["coverage"])
    for row in days:
        sums[row["measurement"], row["dataunit"] or ""][1] += row["energy"]
    return [
        EnergyOfMeter(*key, day, day + earlier, sum(covered[key]) / len(covered[key]) if covered[key] else None)
        for key, (day, earlier) in sorted(sums.items())
    ]


def energy(request: Request) -> Response:
    """Return the energy of hours, days or months, of all meters or of those that `id` names."""
    query, settings = request.query_params, site_of(request).settings()
    zone = ZoneInfo(settings.tz)
    period = query.get("by", Period.DAY)
    if period not in {*Period}:
        raise ConfigurationError(f"by is {period!r}; allowed: {', '.join(Period)}")
    today = datetime.now(zone).date()
    begin, end = (
        _date(query.get(name), name) or default
        for name, default in (("from", month_of(today)), ("to", today + timedelta(days=1)))
    )
    longest = LONGEST[Period(period)]
    if not timedelta(0) < end - begin <= longest:
        raise ConfigurationError(f"from {begin} to {end}: allowed are 1 to {longest.days} days by {period}")
    ids = [int(text) for text in query.getlist("id") if text.lstrip("-").isdecimal()]
    begin_ms, end_ms = milliseconds(midnight(begin, zone)), milliseconds(midnight(end, zone))
    configured = load_energy_rows(site_of(request).engine)
    with open_history(settings) as history:
        points = history.read_energy(period, begin_ms, end_ms, ids or None)
    return json_reply(energy_records(points, configured, zone))


def _date(text: str | None, name: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise ConfigurationError(f"{name} is {text!r}; allowed: a day such as 2026-03-01") from None
