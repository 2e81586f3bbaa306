"""A meter's page: its values, charts, failures and registers; enable, disable, poll now, edit, remove."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from starlette.responses import RedirectResponse

from emm_pipeline.config_db.editing.meter_rows import shown_gateway
from emm_pipeline.errors import StoreError
from emm_pipeline.opening import open_charts
from emm_pipeline.web.changes import change_meter, delete_meter, discover_soon, meter_row, start_poll
from emm_pipeline.web.rendering import from_ms, render
from emm_pipeline.web.site import meter_id_of, site_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from emm_pipeline.stores.charts import FailedPoll
    from emm_pipeline.web.live.latest import MeterValues

_SEE_OTHER, _NOT_FOUND = 303, 404
FAILURES_FOR = timedelta(days=7)
_MOST_FAILURES = 2000
_ONE_OUTAGE = timedelta(minutes=7)
"""Failed polls that are closer together belong to one outage: a failing meter is tried at least every 5 minutes."""
_MOST_OUTAGES = 20


@dataclass(frozen=True, slots=True)
class Outage:
    """Successive failed polls: the first and the last one, their number, and the last reason."""

    first: datetime
    last: datetime
    polls: int
    reason: str


def meter_page(request: Request) -> Response:
    """Show a meter."""
    site, meter_id = site_of(request), meter_id_of(request)
    meter = site.fleet.get().by_id.get(meter_id)
    if meter is None:
        return render(request, "error.html", _NOT_FOUND, title="No such meter", reason=f"There is no meter {meter_id}.")
    return render(
        request,
        "meter.html",
        meter=meter,
        gateway=shown_gateway(meter.row),
        started=request.query_params.get("run", "")[:36],
        **_values(request, meter_id),
    )


def meter_values(request: Request) -> Response:
    """Return the changing part of a meter's page, which it asks for every few seconds."""
    meter_id = meter_id_of(request)
    meter = site_of(request).fleet.get().by_id.get(meter_id)
    if meter is None:
        return render(request, "error.html", _NOT_FOUND, title="No such meter", reason=f"There is no meter {meter_id}.")
    return render(request, "meter_values.html", meter=meter, **_values(request, meter_id))


def _values(request: Request, meter_id: int) -> dict[str, Any]:
    site = site_of(request)
    reading = site.latest.of(meter_id) or _stored(request, meter_id)
    issues = {issue.measurement: issue for issue in site.fleet.get().by_id[meter_id].issues}
    return {
        "reading": reading,
        "read_at": from_ms(reading.time) if reading else None,
        "values": list(reading.rows()) if reading else [],
        "issues": issues,
    }


def _stored(request: Request, meter_id: int) -> MeterValues | None:
    """Return the last reading of the last day from the store, after a start of this server; None if there is none."""
    site = site_of(request)
    try:
        with open_charts(site.settings()) as charts:
            site.latest.fill(charts.latest([meter_id], datetime.now(UTC) - timedelta(days=1)))
    except StoreError:
        return None
    return site.latest.of(meter_id)


def meter_failures(request: Request) -> Response:
    """Return the failures of the last days."""
    meter_id = meter_id_of(request)
    start = datetime.now(UTC) - FAILURES_FOR
    error = None
    found: Sequence[FailedPoll] = ()
    try:
        with open_charts(site_of(request).settings()) as charts:
            found = charts.failed_polls(meter_id, start, _MOST_FAILURES)
    except StoreError as err:
        error = str(err)
    outages = outages_of(found)
    return render(
        request,
        "meter_failures.html",
        outages=outages[:_MOST_OUTAGES],
        more=len(outages) - _MOST_OUTAGES,
        is_cut=len(found) == _MOST_FAILURES,
        days=FAILURES_FOR.days,
        error=error,
    )


def outages_of(failed: Sequence[FailedPoll]) -> list[Outage]:
    """Join failed polls, which are in the order newest first, into outages, newest first."""
    outages: list[Outage] = []
    for poll in failed:
        last = outages[-1] if outages else None
        if last and last.first - poll.time <= _ONE_OUTAGE:
            outages[-1] = Outage(poll.time, last.last, last.polls + 1, last.reason)
        else:
            outages.append(Outage(poll.time, poll.time, 1, poll.error or "no reason is known"))
    return outages


def enable(request: Request) -> Response:
    """Poll the meter again."""
    return _switch(request, is_enabled=True)


def disable(request: Request) -> Response:
    """Stop polling the meter."""
    return _switch(request, is_enabled=False)


def _switch(request: Request, *, is_enabled: bool) -> Response:
    meter_id = meter_id_of(request)
    change_meter(request, meter_id, {"enabled": is_enabled})
    discover_soon(request)
    return RedirectResponse(f"/meters/{meter_id}", _SEE_OTHER)


def poll(request: Request) -> Response:
    """Poll the meter now, through Dagster."""
    meter_id = meter_id_of(request)
    run_id = start_poll(request, meter_id)
    return RedirectResponse(f"/meters/{meter_id}?run={run_id}", _SEE_OTHER)


def removal_page(request: Request) -> Response:
    """Ask whether to remove the meter."""
    row = meter_row(request, meter_id_of(request))
    return render(request, "meter_removal.html", row=row, gateway=shown_gateway(row))


def remove(request: Request) -> Response:
    """Remove the meter; its readings stay in the store."""
    delete_meter(request, meter_id_of(request))
    return RedirectResponse("/", _SEE_OTHER)
