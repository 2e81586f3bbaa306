"""Tokens of programs: create one, which is shown once; revoke one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse

from emm_pipeline.config_db.web_state import load_tokens, remove_token
from emm_pipeline.web.changes import record
from emm_pipeline.web.rendering import render
from emm_pipeline.web.security.access import caller_of
from emm_pipeline.web.security.callers import create_token
from emm_pipeline.web.site import site_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from emm_pipeline.web.forms import Form

_SEE_OTHER, _INVALID, _FORBIDDEN, _NOT_FOUND = 303, 422, 403, 404
_LONGEST = 60


def programs_page(request: Request) -> Response:
    """Show the tokens, without their texts, and how to use the API."""
    return _show(request)


def create(request: Request, sent: Form) -> Response:
    """Create a token, and show it once."""
    name = " ".join(sent.text("name").split())[:_LONGEST]
    if not name or not name.isprintable():
        return _show(request, error="give the token a name, such as the program that uses it", status=_INVALID)
    may_change = bool(sent.text("may_change"))
    token = create_token(site_of(request).engine, name, may_change=may_change, created_by=_person(request))
    record(request, "create token", f"token {name}", None, {"may_change": may_change})
    return _show(request, token=token, name=name)


def revoke(request: Request) -> Response:
    """Revoke a token; it is refused from now on."""
    text = request.path_params["id"]
    if not (text.isascii() and text.isdecimal() and len(text) < 19):  # noqa: PLR2004 - bigint
        raise HTTPException(_NOT_FOUND)
    name = remove_token(site_of(request).engine, int(text))
    if name is not None:
        record(request, "revoke token", f"token {name}")
    return RedirectResponse("/programs", _SEE_OTHER)


def _person(request: Request) -> str:
    """Return the name of the person; a program may not create tokens, which would outlive its own."""
    caller = caller_of(request)
    if caller.session is None:
        raise HTTPException(_FORBIDDEN, "only a person can create a token")
    return caller.name


def _show(
    request: Request, status: int = 200, *, error: str | None = None, token: str | None = None, name: str = ""
) -> Response:
    tokens = load_tokens(site_of(request).engine)
    base = str(request.base_url).rstrip("/")
    return render(request, "programs.html", status, tokens=tokens, error=error, token=token, name=name, base=base)
