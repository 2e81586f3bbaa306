"""Scan a gateway: start, progress, cancel, choose among the units that were found, add them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, StreamingResponse

from emm_pipeline.commissioning.ad_hoc import ad_hoc_meter
from emm_pipeline.commissioning.meter_lists import as_line, found_row, plan_list
from emm_pipeline.config_db.editing.meter_rows import load_meter_rows, shown_gateway
from emm_pipeline.config_db.validation.meters import HIGHEST_UNIT_ID
from emm_pipeline.config_db.values import TRANSPORT_NAMES
from emm_pipeline.errors import ConfigurationError, EmmError
from emm_pipeline.event_loop import in_thread
from emm_pipeline.web.api.replies import dump, json_object, json_reply
from emm_pipeline.web.changes import discover_soon, record, write_meter_list
from emm_pipeline.web.device_checks import check, find_type
from emm_pipeline.web.rendering import render
from emm_pipeline.web.scan_forms import ScanForm
from emm_pipeline.web.scans import ScanStatus
from emm_pipeline.web.site import site_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.responses import Response

    from emm_pipeline.web.forms import Form
    from emm_pipeline.web.scans import RunningScan

_SEE_OTHER, _INVALID, _NOT_FOUND, _ACCEPTED = 303, 422, 404, 202
LOOK_EVERY_S, ALIVE_EVERY = 0.4, 35
"""How often the progress is looked at, and after how many looks a message shows that the connection is alive."""


def add_page(request: Request) -> Response:
    """Show the ways to add meters, with the form for a scan."""
    return _show_form(request, ScanForm.of_fields({}))


def start(request: Request, sent: Form) -> Response:
    """Start a scan."""
    form = ScanForm.of_fields(sent.texts())
    try:
        scan = _start(request, form)
    except EmmError as err:
        return _show_form(request, form, None if form.issues else str(err), _INVALID)
    return RedirectResponse(f"/scans/{scan.id}", _SEE_OTHER)


def _start(request: Request, form: ScanForm) -> RunningScan:
    wanted = form.parse()
    if wanted is None:
        raise ConfigurationError("; ".join(f"{name}: {reason}" for name, reason in form.issues.items()))
    gateway, units = wanted
    scan = site_of(request).scans.start(gateway, units, may_try_others=not form.values["transport"])
    record(request, "scan", gateway.name, None, {"units": form.values["units"]})
    return scan


def _show_form(request: Request, form: ScanForm, error: str | None = None, status: int = 200) -> Response:
    return render(request, "add.html", status, form=form, error=error, transports=TRANSPORT_NAMES)


def scan_page(request: Request) -> Response:
    """Show a scan: its progress, or the form to choose units."""
    return render(request, "scan.html", **_content(request))


def found_units(request: Request) -> Response:
    """Return the part of the page with the units."""
    return render(request, "scan_units.html", **_content(request))


def _content(request: Request) -> dict[str, Any]:
    scan = _scan(request)
    known = {
        int(row["slave_address"]): row
        for row in load_meter_rows(site_of(request).engine)
        if (row.get("host"), row.get("port")) == (scan.gateway.host, scan.gateway.port)
        and isinstance(row.get("slave_address"), int)
    }
    running = scan.status is ScanStatus.RUNNING
    return {"scan": scan, "scan_record": scan.as_record(), "known": known, "running": running}


async def events(request: Request) -> Response:
    """Send the progress as server-sent events until the scan ends."""
    scan = _scan(request)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_events(scan), media_type="text/event-stream", headers=headers)


async def _events(scan: RunningScan) -> AsyncIterator[str]:
    last, waited = "", 0
    while True:
        is_over = scan.status is not ScanStatus.RUNNING
        text = dump(scan.as_record())
        if text != last:
            yield f"event: progress\ndata: {text}\n\n"
            last, waited = text, 0
        if is_over:
            yield f"event: end\ndata: {scan.status}\n\n"
            return
        await asyncio.sleep(LOOK_EVERY_S)
        waited += 1
        if waited >= ALIVE_EVERY:
            yield ": alive\n\n"
            waited = 0


def cancel(request: Request) -> Response:
    """End a scan; the units found so far remain."""
    scan = _scan(request)
    scan.cancel()
    return RedirectResponse(f"/scans/{scan.id}", _SEE_OTHER)


def unit_values(request: Request) -> Response:
    """Read the values of a unit with a type, and show them."""
    scan, unit = _scan(request), request.query_params.get("unit", "")
    if not (unit.isascii() and unit.isdecimal() and int(unit) <= HIGHEST_UNIT_ID):
        raise HTTPException(_NOT_FOUND)
    type_name = request.query_params.get(f"type-{unit}", request.query_params.get("type", ""))
    meter = ad_hoc_meter(scan.gateway, int(unit), type_name)
    entry = scan.entries.get(type_name)
    checked = check(request, meter, entry.meter_type if entry else find_type(request, type_name))
    return render(request, "unit_values.html", checked=checked)


def add_units(request: Request, sent: Form) -> Response:
    """Install the types, and add the chosen units as meters."""
    scan = _scan(request)
    found = {each.unit_id for each in scan.units}
    units = [int(unit) for unit in sent.all("unit") if unit.isascii() and unit.isdecimal() and int(unit) in found]
    rows = [
        found_row(scan.gateway, unit, sent.text(f"type-{unit}").strip()[:200])
        | {"description": sent.text(f"name-{unit}").strip()[:500] or None}
        for unit in units
    ]
    error = None if rows else "choose at least one unit"
    try:
        plan = plan_list(site_of(request).engine, [as_line(row) for row in rows])
        if plan.issues:
            error = "; ".join(f"unit {issue.line}: {issue.reason}" for issue in plan.issues)
        elif rows:
            write_meter_list(request, plan)
    except EmmError as err:
        error = str(err)
    if error:
        return render(request, "scan.html", _INVALID, error=error, **_content(request))
    discover_soon(request)
    return RedirectResponse(f"/?{urlencode({'gateway': shown_gateway(rows[0]), 'added': len(rows)})}", _SEE_OTHER)


def _scan(request: Request) -> RunningScan:
    scan = site_of(request).scans.find(request.path_params["id"])
    if scan is None:
        raise HTTPException(_NOT_FOUND)
    return scan


async def api_start(request: Request) -> Response:
    """Start a scan for a program."""
    form = ScanForm.of_fields(await json_object(request))
    scan = await in_thread(lambda: _start(request, form), "api")
    return json_reply(scan.as_record(), _ACCEPTED)


def api_scan(request: Request) -> Response:
    """Return the progress of a scan."""
    return json_reply(_scan(request).as_record())


def api_cancel(request: Request) -> Response:
    """Cancel a scan."""
    scan = _scan(request)
    scan.cancel()
    return json_reply(scan.as_record(), _ACCEPTED)
