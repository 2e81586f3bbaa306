"""Upload a file of meters, or of registers: nothing is written if a line is wrong, and each error is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import RedirectResponse

from emm_pipeline.commissioning.meter_lists import plan_file
from emm_pipeline.config_db.csv_tables import told
from emm_pipeline.config_db.editing.meter_files import COLUMNS, NEEDED
from emm_pipeline.errors import EmmError
from emm_pipeline.web.changes import discover_soon, write_meter_list, write_registers_of
from emm_pipeline.web.rendering import render
from emm_pipeline.web.site import site_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from emm_pipeline.web.forms import Form

_SEE_OTHER, _INVALID = 303, 422
FORMATS = ("csv", "yaml")
LINES_SHOWN = 200
_HOW_TO_UPDATE = "choose to change meters that are there, too"


def upload_page(request: Request) -> Response:
    """Show the form."""
    return _show(request)


def upload(request: Request, sent: Form) -> Response:
    """Write the meters or registers of a file, or show what it would change."""
    content, is_check = sent.file("file"), sent.text("action") == "check"
    try:
        if sent.text("what") == "registers":
            return _registers(request, content, is_check=is_check)
        return _meters(request, content, sent, is_check=is_check)
    except EmmError as err:
        return _show(request, [str(err)])


def _meters(request: Request, content: bytes, sent: Form, *, is_check: bool) -> Response:
    file_format = sent.text("format") if sent.text("format") in FORMATS else FORMATS[0]
    update = bool(sent.text("update"))
    plan = plan_file(site_of(request).engine, content, file_format, update=update, how_to_update=_HOW_TO_UPDATE)
    if plan.issues:
        return _show(request, told(plan.issues))
    if is_check:
        return _show(request, changes=plan.described(), unchanged=plan.counts["unchanged"])
    write_meter_list(request, plan)
    discover_soon(request)
    return RedirectResponse("/", _SEE_OTHER)


def _registers(request: Request, content: bytes, *, is_check: bool) -> Response:
    done = write_registers_of(request, content, dry_run=is_check)
    if done.issues or not done.types:
        return _show(request, told(done.issues) or ["the file has no registers"])
    if is_check:
        changes = [f"{count} {what}" for what, count in done.counts.items() if count and what != "unchanged"]
        return _show(request, changes=changes, unchanged=done.counts["unchanged"])
    return RedirectResponse(f"/catalogue/{done.types[0]}", _SEE_OTHER)


def _show(
    request: Request, issues: Sequence[str] = (), changes: Iterable[str] | None = None, unchanged: int = 0
) -> Response:
    return render(
        request,
        "upload.html",
        _INVALID if issues else 200,
        issues=issues,
        changes=None if changes is None else list(changes),
        most=LINES_SHOWN,
        unchanged=unchanged,
        columns=COLUMNS,
        needed=NEEDED,
    )
