"""Upload a CSV file of meters, or of registers: nothing is written if a line is wrong, and each error is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import RedirectResponse

from emm_pipeline.catalog import load_catalogue
from emm_pipeline.config_db.csv_tables import CsvIssue, read_csv
from emm_pipeline.config_db.editing.meter_rows import load_meter_rows
from emm_pipeline.config_db.editing.register_files import plan_import, read_register_file
from emm_pipeline.config_db.editing.type_tables import (
    editing_registers,
    load_type_rows,
    load_types_of,
    write_registers,
)
from emm_pipeline.config_db.loader import rows_of
from emm_pipeline.errors import EmmError
from emm_pipeline.web.changes import discover_soon, install_missing, new_meter, record
from emm_pipeline.web.meter_forms import MeterForm
from emm_pipeline.web.rendering import render
from emm_pipeline.web.site import site_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from emm_pipeline.web.forms import Form

_SEE_OTHER, _INVALID = 303, 422
ISSUES_SHOWN = 50
METER_COLUMNS = tuple(MeterForm.empty().values)
_NEEDED = ("host", "slave_address", "type")
_TEXTS = ("host", "type", "description", "transport", "serial_settings", "may_be_off")
_NO = frozenset({"", "0", "no", "false", "f"})


def upload_page(request: Request) -> Response:
    """Show the form."""
    return _show(request)


def upload(request: Request, sent: Form) -> Response:
    """Write the meters or registers of a file."""
    content = sent.file("file")
    try:
        if sent.text("what") == "registers":
            return _registers(request, content)
        return _meters(request, content)
    except EmmError as err:
        return _show(request, [str(err)], _INVALID)


def _meters(request: Request, content: bytes) -> Response:
    issues: list[CsvIssue] = []
    rows = _parsed(request, content, issues)
    if issues or not rows:
        return _show(request, _told(issues) or ["the file has no meters"], _INVALID)
    install_missing(request, [row["type"] for row in rows])
    for added, row in enumerate(rows):
        try:
            new_meter(request, row)
        except EmmError as err:  # the lines were right: someone else has added the meter in the meantime
            return _show(request, [f"{err}; {added} of {len(rows)} meters were added before"], _INVALID)
    discover_soon(request)
    return RedirectResponse("/", _SEE_OTHER)


def _parsed(request: Request, content: bytes, issues: list[CsvIssue]) -> list[dict[str, Any]]:
    """Return the rows of a file of meters; add what is wrong to `issues`."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        issues.append(CsvIssue(None, "is not UTF-8; save the file as UTF-8"))
        return []
    table = read_csv(text, METER_COLUMNS, _NEEDED, _TEXTS)
    issues += table.issues
    engine = site_of(request).engine
    types = {*load_types_of(engine), *load_catalogue()}
    known = {(row.get("host"), row.get("port"), row.get("slave_address")) for row in load_meter_rows(engine)}
    rows = []
    for number, cells in table.rows:
        form = MeterForm.of_fields(MeterForm.empty().values | {name: cell or "" for name, cell in cells.items()})
        form.values["may_be_off"] = "" if form.values["may_be_off"].lower() in _NO else "on"
        form.values["port"] = form.values["port"] or "502"
        form.values["factor"] = form.values["factor"] or "1"
        row = form.row()
        issues += [CsvIssue(number, f"{column} {reason}") for column, reason in form.issues.items()]
        place = row["host"], row.get("port"), row.get("slave_address")
        if place in known:
            issues.append(CsvIssue(number, f"unit {place[2]} at {place[0]}:{place[1]} is already a meter"))
        if row["type"] and row["type"] not in types:
            issues.append(CsvIssue(number, f"there is no type {row['type']!r}"))
        known.add(place)
        rows.append(row)
    return rows


def _registers(request: Request, content: bytes) -> Response:
    with editing_registers(site_of(request).engine) as connection:
        parsed = read_register_file(content, rows_of(connection, "meter_types"))
        plan = plan_import(load_type_rows(connection), [row for _, row in parsed.rows], replace=False)
        if not parsed.issues:
            write_registers(connection, plan.remove, plan.add)
    if parsed.issues or not parsed.types:
        return _show(request, _told(parsed.issues) or ["the file has no registers"], _INVALID)
    counts = {"rows added": len(plan.add), "rows removed": len(plan.remove)}
    record(request, "upload registers", f"types {', '.join(parsed.types)}", None, counts)
    return RedirectResponse(f"/catalogue/{parsed.types[0]}", _SEE_OTHER)


def _told(issues: list[CsvIssue]) -> list[str]:
    ordered = sorted(issues, key=lambda issue: issue.line or 0)
    more = [f"and {len(issues) - ISSUES_SHOWN} more"] if len(issues) > ISSUES_SHOWN else []
    return [*map(str, ordered[:ISSUES_SHOWN]), *more]


def _show(request: Request, issues: list[str] | None = None, status: int = 200) -> Response:
    return render(request, "upload.html", status, issues=issues or [], columns=METER_COLUMNS, needed=_NEEDED)
