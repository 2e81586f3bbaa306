"""The parts of the pipeline, alerts, the outbox, virtual devices and the log of changes at a glance."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from emm_pipeline.alerts.state import raised_alerts
from emm_pipeline.condition.virtual_devices import virtual_devices
from emm_pipeline.config_db.web_state import load_changes
from emm_pipeline.errors import ConfigDatabaseError, OutboxError
from emm_pipeline.opening import open_outbox
from emm_pipeline.runnable import is_elsewhere
from emm_pipeline.web.rendering import render
from emm_pipeline.web.site import site_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from emm_pipeline.cron import Trigger
    from emm_pipeline.settings import Settings

_PAGE = 100
_SCHEDULES = "/locations/__repository__@emm/schedules/"
_LINKS = (
    ("/automation", "Schedules and sensors", "switch polling on and off"),
    ("/runs", "Runs", "the history of polls, and why one failed"),
    ("/assets/meter_readings", "Meters in Dagster", "partitions, checks, backfills"),
    ("/asset-groups", "Lineage", "what is computed from what"),
)
_DASHBOARDS = (
    ("/d/emm-home", "Home", "all meters, last values"),
    ("/d/emm-fleet", "Fleet health", "failed polls, latency, lateness"),
    ("/d/emm-energy", "Energy", "hours, days and months"),
    ("/alerting/list", "Alert rules", "those of Grafana (GRAFANA_ALERTS)"),
)


@dataclass(frozen=True, slots=True)
class ShownSchedule:
    """A schedule: its name for people and in Dagster, the triggers, and when it is due next (aware)."""

    title: str
    path: str
    trigger: Trigger
    next_at: datetime


def pipeline_page(request: Request) -> Response:
    """Show everything except the meters."""
    site = site_of(request)
    settings, state = site.settings(), site.fleet.get()
    alerts, database_error = [], None
    try:
        alerts = raised_alerts(site.engine)
    except ConfigDatabaseError as err:
        database_error = str(err)
    return render(
        request,
        "pipeline.html",
        parts=state.condition.parts,
        at=state.condition.at,
        alerts=alerts,
        database_error=database_error,
        outbox=_outbox(settings),
        poll=site.latest.last_poll,
        links=_LINKS,
        schedules=_schedules(settings, datetime.now(UTC)),
        dashboards=_DASHBOARDS,
        devices=virtual_devices(state.condition.meters or (), in_stack=is_elsewhere()),
        in_stack=is_elsewhere(),
        channels=_channels(settings),
        mqtt=bool(settings.mqtt_url),
        store=settings.readings_store,
    )


def _schedules(settings: Settings, now: datetime) -> list[ShownSchedule]:
    """Return the schedules; whether polling is switched off is in the status of the part `polling`."""
    found = (
        ("Polling", "poll_schedule", settings.poll_trigger),
        ("Discovery of meters", "discovery_schedule", settings.discovery_trigger),
    )
    return [ShownSchedule(title, _SCHEDULES + name, trigger, trigger.next_tick(now)) for title, name, trigger in found]


def _outbox(settings: Settings) -> dict[str, Any]:
    outbox = open_outbox(settings)
    try:
        return {
            "waiting": len(outbox.names()),
            "since": outbox.waiting_since(),
            "rejected": len(outbox.rejected()),
            "reason": outbox.last_error(),
            "error": None,
        }
    except OutboxError as err:
        return {"waiting": 0, "since": None, "rejected": 0, "reason": None, "error": str(err)}


def _channels(settings: Settings) -> list[str]:
    """Return by which channels alerts are sent; without their addresses, which may contain credentials."""
    mail = ["mail"] if settings.email_notifications else []
    return mail + ["ALERT_URLS"] * bool(settings.alert_urls.get_secret_value())


def changes_page(request: Request) -> Response:
    """Show the latest changes made through the page and the API."""
    text = request.query_params.get("before", "")
    before = int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None  # noqa: PLR2004
    changes = load_changes(site_of(request).engine, _PAGE, before)
    shown = [(each, _shown(each.change.before), _shown(each.change.after)) for each in changes]
    return render(request, "changes.html", changes=shown, earlier=changes[-1].id if len(changes) == _PAGE else None)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        known = {name: one for name, one in value.items() if one is not None}
        return ", ".join(f"{name} {json.dumps(one, ensure_ascii=False)}" for name, one in known.items())
    return "" if value is None else json.dumps(value, ensure_ascii=False)
