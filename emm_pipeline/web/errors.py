"""Replies to errors: a page for people, JSON for programs."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from emm_pipeline.errors import ConfigurationError, EmmError
from emm_pipeline.web.rendering import render

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_INVALID, _UNAVAILABLE, _FAILED = 400, 503, 500
_TITLES = {404: "Not found", 405: "Not allowed", _INVALID: "That is not possible", _UNAVAILABLE: "Not available"}
_REASONS = {404: "There is no such page.", 405: "This page does not accept such requests."}
_log = logging.getLogger(__name__)


def on_emm_error(request: Request, error: Exception) -> Response:
    """Reply to one of EMM's own errors: what a person has to correct, or something that does not answer."""
    return _reply(request, _INVALID if isinstance(error, ConfigurationError) else _UNAVAILABLE, str(error))


def on_http_error(request: Request, error: Exception) -> Response:
    """Reply to a request for a page that does not exist, or with an invalid form."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it only
    return _reply(request, error.status_code, _REASONS.get(error.status_code, str(error.detail)))


def on_failure(request: Request, error: Exception) -> Response:
    """Reply to an unexpected error, which is in the log of this server."""
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return _reply(request, _FAILED, "This is an error in EMM. Its log has the details.")


def _reply(request: Request, status: int, reason: str) -> Response:
    if request.url.path.startswith(("/api/", "/metrics")):
        return JSONResponse({"error": reason}, status)
    template = "error_part.html" if request.headers.get("hx-request") else "error.html"
    return render(request, template, status, title=_TITLES.get(status, "An error occurred"), reason=reason)


HANDLERS = {EmmError: on_emm_error, HTTPException: on_http_error, Exception: on_failure}
"""Handlers by class of error."""
