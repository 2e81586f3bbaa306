"""JSON replies, and JSON in requests."""

from __future__ import annotations

import json
import math
from datetime import datetime
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from emm_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from starlette.requests import Request


def json_reply(data: Any, status: int = 200) -> Response:
    """Return data as JSON: times as ISO 8601; NaN and infinities, which JSON does not have, as null."""
    return Response(dump(data), status, media_type="application/json")


def dump(data: Any) -> str:
    """Return data as JSON text."""
    return json.dumps(_finite(data), ensure_ascii=False, allow_nan=False, default=_as_text, separators=(",", ":"))


async def json_object(request: Request) -> dict[str, Any]:
    """Return the object in a request's body.

    Raises:
        ConfigurationError: It is not a JSON object.
    """
    try:
        data = json.loads(await request.body())
    except (ValueError, RecursionError) as err:
        raise ConfigurationError(f"the request is not valid JSON: {err}") from None
    if not isinstance(data, dict):
        raise ConfigurationError("the request must be a JSON object")
    return data


def _finite(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def _as_text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
