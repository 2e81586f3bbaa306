"""The catalogue: search, a type with its registers and sources, and its installation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse

from emm_pipeline.catalog import KINDS, load_catalogue
from emm_pipeline.commissioning.installing import plan_now
from emm_pipeline.commissioning.type_lists import Wanted
from emm_pipeline.config_db.editing.register_rows import REGISTER_COLUMNS
from emm_pipeline.errors import ConfigurationError
from emm_pipeline.web.api.types import entries, rows
from emm_pipeline.web.changes import install
from emm_pipeline.web.rendering import render
from emm_pipeline.web.site import site_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from emm_pipeline.web.forms import Form

_SEE_OTHER, _INVALID, _NOT_FOUND = 303, 422, 404
_LONGEST = 200


def catalogue_page(request: Request) -> Response:
    """Show the types of the catalogue and of the database."""
    return render(request, "catalogue.html", **_list(request))


def catalogue_rows(request: Request) -> Response:
    """Return the types that match the search."""
    return render(request, "catalogue_rows.html", **_list(request))


def _list(request: Request) -> dict[str, Any]:
    text = request.query_params.get("q", "")[:_LONGEST]
    kind = request.query_params.get("kind", "")
    kind = kind if kind in KINDS else ""
    return {"text": text, "kind": kind, "kinds": KINDS, "types": entries(request, Wanted(text.split(), kind or None))}


def type_page(request: Request) -> Response:
    """Show a type."""
    return _show(request)


def install_type(request: Request, sent: Form) -> Response:
    """Install a type of the catalogue, or bring that of the database to its present state."""
    name = request.path_params["name"]
    entry = load_catalogue().get(name)
    if entry is None:
        raise HTTPException(_NOT_FOUND)
    try:
        install(request, [entry], force=bool(sent.text("force")))
    except ConfigurationError as err:
        return _show(request, str(err), _INVALID)
    return RedirectResponse(request.url.path.removesuffix("/install"), _SEE_OTHER)


def _show(request: Request, error: str | None = None, status: int = 200) -> Response:
    name = request.path_params["name"]
    found = [each for each in entries(request, Wanted([name])) if each["type"] == name]
    if not found:
        raise HTTPException(_NOT_FOUND)
    entry = load_catalogue().get(name)
    plan = plan_now(site_of(request).engine, [entry])[0].plan if entry else None
    registers = [dict(zip(REGISTER_COLUMNS, row, strict=True)) for row in rows(request, name)]
    return render(request, "type.html", status, type=found[0], entry=entry, plan=plan, registers=registers, error=error)
