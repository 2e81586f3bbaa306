"""Log in, log out, and change the password."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import RedirectResponse

from emm_pipeline.errors import ConfigDatabaseError, ConfigurationError
from emm_pipeline.event_loop import in_thread
from emm_pipeline.http_access.asgi import RefusedError
from emm_pipeline.web.changes import record
from emm_pipeline.web.rendering import render
from emm_pipeline.web.security.access import LOGIN_PATH, caller_of, cookie
from emm_pipeline.web.security.callers import session_id
from emm_pipeline.web.site import site_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from emm_pipeline.web.security.callers import Caller
    from emm_pipeline.web.site import Site

_SEE_OTHER, _INVALID = 303, 400


def login_page(request: Request) -> Response:
    """Show the form."""
    if not site_of(request).needs_login:
        return RedirectResponse("/", _SEE_OTHER)
    return render(request, "login.html", next=_target(request.query_params.get("next", "")), error=None)


async def log_in(request: Request) -> Response:
    """Check name and password; begin a session."""
    site = site_of(request)
    async with request.form(max_files=0, max_fields=10) as form:
        name, password, target = (str(form.get(key, "")) for key in ("name", "password", "next"))
    client = await site.clients(request.scope)
    try:
        account, browser = await site.logins.log_in(request.scope, client, name, password)
    except RefusedError as refusal:
        return render(request, "login.html", refusal.status, next=_target(target), error=str(refusal))
    except ConfigDatabaseError as err:
        return render(request, "login.html", 503, next=_target(target), error=str(err))
    site.sessions.end(session_id(request.scope))
    id_, _ = site.sessions.begin(account.name, account.login, may_change=account.may_change)
    response = RedirectResponse(_target(target), _SEE_OTHER)
    is_encrypted = await site.clients.is_encrypted(request.scope)
    response.raw_headers += [cookie(id_, is_encrypted=is_encrypted), browser]
    return response


async def log_out(request: Request) -> Response:
    """End the session."""
    site = site_of(request)
    site.sessions.end(session_id(request.scope))
    response = RedirectResponse(LOGIN_PATH, _SEE_OTHER)
    response.raw_headers.append(cookie("", is_encrypted=await site.clients.is_encrypted(request.scope)))
    return response


def password_page(request: Request) -> Response:
    """Show the form for a new password."""
    return render(request, "password.html", error=None)


async def change_password(request: Request) -> Response:
    """Replace the password of the account, which ends its sessions."""
    site, caller = site_of(request), caller_of(request)
    async with request.form(max_files=0, max_fields=10) as form:
        old, new, again = (str(form.get(key, "")) for key in ("old", "new", "again"))
    try:
        _require_changeable(site, caller, new, again)
        await site.logins.log_in(request.scope, caller.address, caller.name, old)
        await in_thread(lambda: site.accounts.set_password(caller.name, new), "password")
    except (ConfigurationError, RefusedError) as err:
        error = "the present password is wrong" if str(err) == "wrong user or password" else str(err)
        return render(request, "password.html", _INVALID, error=error)
    await in_thread(lambda: record(request, "change password", f"account {caller.name}"), "password")
    site.sessions.end_all(caller.name)
    return RedirectResponse(LOGIN_PATH, _SEE_OTHER)


def _require_changeable(site: Site, caller: Caller, new: str, again: str) -> None:
    if not site.needs_login or caller.session is None:
        raise ConfigurationError("there is no password, because no login is required")
    if new != again:
        raise ConfigurationError("the new passwords differ")


def _target(path: str) -> str:
    """Return a path of this server to continue at; anything else becomes the overview."""
    is_path = path.startswith("/") and path[1:2] not in {"/", "\\"} and path.isprintable()
    return path if is_path else "/"
