"""Add or edit one meter with a form, test it before, and read the registers of a meter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import RedirectResponse

from emm_pipeline.catalog import load_catalogue
from emm_pipeline.commissioning.ad_hoc import ad_hoc_meter
from emm_pipeline.config_db.editing.meter_rows import load_meter_rows
from emm_pipeline.config_db.editing.tariffs import load_price_lists
from emm_pipeline.config_db.editing.type_tables import load_types_of
from emm_pipeline.config_db.validation.meters import gateway_address, id_of
from emm_pipeline.config_db.values import TRANSPORT_NAMES, InvalidValueError, shown
from emm_pipeline.errors import ConfigurationError, EmmError
from emm_pipeline.suggesting import suggestion
from emm_pipeline.web.changes import change_meter, discover_soon, install_missing, meter_row, new_meter
from emm_pipeline.web.device_checks import check, find_type, known_meter
from emm_pipeline.web.meter_forms import MeterForm
from emm_pipeline.web.rendering import render
from emm_pipeline.web.site import meter_id_of, site_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from emm_pipeline.web.device_checks import CheckedDevice
    from emm_pipeline.web.forms import Form

_SEE_OTHER, _INVALID = 303, 422


def add_page(request: Request) -> Response:
    """Show the form of a new meter; the query may contain values of fields."""
    form = MeterForm.empty()
    given = MeterForm.of_fields(request.query_params).values
    form.values |= {name: value for name, value in given.items() if value}
    return _show(request, form)


def add(request: Request, sent: Form) -> Response:
    """Test the device, or add the meter."""
    form = MeterForm.of_fields(sent.texts())
    row = _row(request, form, sent)
    if form.issues:
        return _show(request, form, status=_INVALID)
    try:
        if sent.text("action") == "test":
            return _show(request, form, checked=_test(request, row))
        install_missing(request, [row["type"]])
        added = new_meter(request, row, force=bool(sent.text("force")))
    except EmmError as err:
        return _show(request, form, status=_INVALID, error=str(err))
    discover_soon(request)
    return RedirectResponse(f"/meters/{added['id']}", _SEE_OTHER)


def edit_page(request: Request) -> Response:
    """Show the form of a meter."""
    meter_id = meter_id_of(request)
    return _show(request, MeterForm.of_row(meter_row(request, meter_id)), meter_id=meter_id)


def edit(request: Request, sent: Form) -> Response:
    """Test the device, or change the meter."""
    meter_id, form = meter_id_of(request), MeterForm.of_fields(sent.texts())
    row = _row(request, form, sent, meter_id)
    if form.issues:
        return _show(request, form, meter_id=meter_id, status=_INVALID)
    try:
        if sent.text("action") == "test":
            return _show(request, form, meter_id=meter_id, checked=_test(request, row))
        install_missing(request, [row["type"]])
        change_meter(request, meter_id, row, force=bool(sent.text("force")))
    except EmmError as err:
        return _show(request, form, meter_id=meter_id, status=_INVALID, error=str(err))
    return RedirectResponse(f"/meters/{meter_id}", _SEE_OTHER)


def _row(request: Request, form: MeterForm, sent: Form, meter_id: int | None = None) -> dict[str, Any]:
    """Return the row that a form means; fill its issues, also those that depend on other rows."""
    row, engine = form.row(), site_of(request).engine
    name, types = row["type"], {*load_types_of(engine), *load_catalogue()}
    if name and name not in types:
        form.issues["type"] = f"neither the database nor the catalogue has {shown(name)}{suggestion(name, types)}"
    if form.issues or sent.text("action") == "test":
        return row
    place = ("host", "port", "slave_address")
    for other in load_meter_rows(engine):
        if all(other.get(column) == row[column] for column in place) and id_of(other) != meter_id:
            form.is_known_unit = True
            if not sent.text("force"):
                form.issues["slave_address"] = f"this unit of the gateway is already meter {other['id']}"
    return row


def registers(request: Request) -> Response:
    """Read the registers of a meter now."""
    checked = check(request, *known_meter(request, meter_id_of(request)))
    return render(request, "checked.html", checked=checked)


def _test(request: Request, row: dict[str, Any]) -> CheckedDevice:
    try:
        gateway = gateway_address(row["host"], row["port"], row["transport"], row["serial_settings"])
    except InvalidValueError as err:
        raise ConfigurationError(str(err)) from None
    meter = ad_hoc_meter(gateway, row["slave_address"], row["type"], row["factor"])
    return check(request, meter, find_type(request, row["type"]))


def _show(  # noqa: PLR0913 - what the template shows
    request: Request,
    form: MeterForm,
    *,
    meter_id: int | None = None,
    status: int = 200,
    error: str | None = None,
    checked: CheckedDevice | None = None,
) -> Response:
    engine = site_of(request).engine
    tariffs = {each.name for each in load_price_lists(engine)} | {form.values["tariff"]} - {""}
    return render(
        request,
        "meter_form.html",
        status,
        form=form,
        meter_id=meter_id,
        error=error,
        checked=checked,
        types=sorted({*load_types_of(engine), *load_catalogue()}),
        tariffs=sorted(tariffs),
        transports=TRANSPORT_NAMES,
    )
