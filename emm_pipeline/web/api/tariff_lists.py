"""`/api/tariffs`: the price lists, as `emm tariffs list --json` prints them, and changes."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from starlette.responses import Response

from emm_pipeline.config_db.editing.tariffs import load_price_lists, load_tariff_users
from emm_pipeline.config_db.validation.tariffs import check_price_list
from emm_pipeline.errors import ConfigurationError
from emm_pipeline.event_loop import in_thread
from emm_pipeline.web.api.replies import json_object, json_reply
from emm_pipeline.web.changes import delete_price_lists, save_price_list
from emm_pipeline.web.site import site_of

if TYPE_CHECKING:
    from starlette.requests import Request

_NO_CONTENT = 204
FIELDS = ("name", "valid_from", "currency", "base_price_per_month", "prices")
PRICE_FIELDS = ("weekdays", "from_time", "to_time", "price_per_kwh", "export_price")


def tariffs(request: Request) -> Response:
    """Return all price lists, each with the ids of the meters that have its tariff."""
    engine = site_of(request).engine
    users = load_tariff_users(engine)
    return json_reply([each.as_record() | {"meters": users.get(each.name, [])} for each in load_price_lists(engine)])


async def put(request: Request) -> Response:
    """Write a price list; one with the same name and `valid_from` is replaced."""
    given = await json_object(request)
    _refuse_unknown(given, FIELDS)
    rows = given.pop("prices", [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ConfigurationError("prices must be a list of objects")
    for row in rows:
        _refuse_unknown(row, PRICE_FIELDS)
    checked = check_price_list(given, rows)
    if (prices := checked.prices) is None:
        raise ConfigurationError("; ".join(f"{name} {reason}" for name, reason in checked.issues.items()))
    await in_thread(lambda: save_price_list(request, prices, replace=True), "api")
    return json_reply(prices.as_record())


def remove(request: Request) -> Response:
    """Remove the price list of a tariff from a day, or all of them: `?name=…&valid_from=…`."""
    query = request.query_params
    day = query.get("valid_from", "")
    try:
        valid_from = date.fromisoformat(day) if day else None
    except ValueError:
        raise ConfigurationError(f"valid_from is {day[:20]!r}; allowed: a day such as 2026-03-01") from None
    delete_price_lists(request, query.get("name", ""), valid_from)
    return Response(status_code=_NO_CONTENT)


def _refuse_unknown(given: dict[str, object], allowed: tuple[str, ...]) -> None:
    if unknown := sorted(set(given) - set(allowed)):
        raise ConfigurationError(f"unknown {', '.join(map(repr, unknown))}; allowed: {', '.join(allowed)}")
