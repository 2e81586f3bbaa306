"""Render templates. Every value is escaped; files in `static/` get addresses that change with their content."""

from __future__ import annotations

import hashlib
import math
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

from emm_pipeline.runnable import runnable
from emm_pipeline.web.security.access import CALLER
from emm_pipeline.web.site import site_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_HERE = Path(__file__).parent
STATIC = _HERE / "static"
_KILO = 1000
_LARGE = 1e15
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400

MISSING = "\N{EN DASH}"

_ADD = "/add"
NAVIGATION = (
    ("/", "Overview"),
    (_ADD, "Add meters"),
    ("/catalogue", "Catalogue"),
    ("/tariffs", "Tariffs"),
    ("/pipeline", "Pipeline"),
    ("/programs", "Programs"),
    ("/changes", "Changes"),
)


def render(request: Request, template: str, status: int = 200, **values: Any) -> Response:
    """Return a page."""
    site, caller = site_of(request), request.scope.get(CALLER)
    settings = site.settings()
    page = {
        "caller": caller,
        "csrf": caller.csrf if caller else "",
        "may_change": bool(caller and caller.may_change),
        "needs_login": site.needs_login,
        "navigation": [each for each in NAVIGATION if each[0] != _ADD or (caller and caller.may_change)],
        "path": request.url.path,
        "zone": ZoneInfo(settings.tz),
        "zone_name": settings.tz,
        "dagster_url": settings.dagster_url.rstrip("/"),
        "grafana_url": settings.grafana_url.rstrip("/"),
    }
    return HTMLResponse(_environment().get_template(template).render(page | values), status)


def number(value: float | None) -> str:
    """Return a value for people: counters with all their digits, others with at most six significant ones."""
    if value is None:
        return MISSING
    if value.is_integer() and abs(value) < _LARGE:
        return f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    return f"{value:.6g}"


def power(watts: float | None) -> str:
    """Return a power with a suitable unit."""
    if watts is None:
        return MISSING
    return f"{watts:.0f} W" if abs(watts) < _KILO else f"{watts / _KILO:.2f} kW"


def energy(kilowatt_hours: float | None) -> str:
    """Return an energy in kWh."""
    if kilowatt_hours is None:
        return MISSING
    decimals = 1 if abs(kilowatt_hours) >= 100 else 2  # noqa: PLR2004 - enough to see it change
    return f"{kilowatt_hours:,.{decimals}f} kWh".replace(",", "\N{NARROW NO-BREAK SPACE}")


def age(time: datetime | None, now: datetime | None = None) -> str:
    """Return how long ago a time (aware) was, such as `12 s ago`."""
    if time is None:
        return "never"
    seconds = ((now or datetime.now(UTC)) - time).total_seconds()
    if seconds < -_MINUTE:
        return "in the future"
    steps = ((_MINUTE, 1, "s"), (_HOUR, _MINUTE, "min"), (2 * _DAY, _HOUR, "h"), (math.inf, _DAY, "days"))
    length, unit = next((length, unit) for limit, length, unit in steps if seconds < limit)
    return f"{max(0, int(seconds // length))} {unit} ago"


def local_time(time: datetime | None, zone: ZoneInfo) -> str:
    """Return a time (aware) in the time zone of the installation."""
    return time.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S") if time else MISSING


def from_ms(time: int | None) -> datetime | None:
    """Return a time in milliseconds since 1970 as an aware one."""
    return None if time is None else datetime.fromtimestamp(time / 1000, UTC)


@cache
def static(name: str) -> str:
    """Return the address of a file in `static/`."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?v={digest}"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "power": power,
        "energy": energy,
        "age": age,
        "local_time": local_time,
        "from_ms": from_ms,
        "runnable": runnable,
    }
    environment.globals["static"] = static
    return environment
