"""Tariffs: the price lists, a form to add or change one, and its removal after a question."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from starlette.responses import RedirectResponse

from emm_pipeline.config_db.editing.tariffs import find_price_list, load_price_lists, load_tariff_users
from emm_pipeline.config_db.validation.tariffs import check_price_list
from emm_pipeline.errors import ConfigurationError, EmmError
from emm_pipeline.web.changes import delete_price_lists, save_price_list
from emm_pipeline.web.rendering import render
from emm_pipeline.web.site import site_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from emm_pipeline.config_db.editing.tariffs import Key
    from emm_pipeline.web.forms import Form

_SEE_OTHER, _INVALID = 303, 422
_LONGEST = 250
ROWS_TO_ADD = 2
"""Number of empty rows of the form."""
HEAD = ("name", "valid_from", "currency", "base_price_per_month")
COLUMNS = ("price_per_kwh", "export_price", "weekdays", "from_time", "to_time")
_EMPTY = dict.fromkeys(COLUMNS, "") | {"weekdays": "1-7", "from_time": "00:00", "to_time": "00:00"}


def tariffs_page(request: Request) -> Response:
    """Show all price lists."""
    engine = site_of(request).engine
    return render(request, "tariffs.html", lists=load_price_lists(engine), users=load_tariff_users(engine))


def edit_page(request: Request) -> Response:
    """Show the form of a price list, or an empty one. The query may have the name of a tariff for a further list."""
    key = _key(request.query_params)
    if key is None:
        today = datetime.now(ZoneInfo(site_of(request).settings().tz)).date()
        fields = {"name": request.query_params.get("name", "")[:_LONGEST], "valid_from": today.isoformat()}
        return _show(request, None, fields | {"currency": "EUR", "base_price_per_month": "0"}, [])
    record = find_price_list(site_of(request).engine, *key).as_record()
    rows = [{name: _text(row[name]) for name in COLUMNS} for row in record["prices"]]
    return _show(request, key, {name: _text(record[name]) for name in HEAD}, rows)


def save(request: Request, sent: Form) -> Response:
    """Write the price list."""
    key = _key({"name": sent.text("old_name"), "valid_from": sent.text("old_valid_from")})
    fields = {name: sent.text(name).strip()[:_LONGEST] for name in HEAD}
    columns = {name: sent.all(name) for name in COLUMNS}
    count = max(map(len, columns.values()), default=0)
    rows = [
        {name: (values[place] if place < len(values) else "").strip()[:_LONGEST] for name, values in columns.items()}
        for place in range(count)
    ]
    used = [row for row in rows if row["price_per_kwh"] or row["export_price"]]
    checked = check_price_list(fields, used)
    if checked.prices is None:
        return _show(request, key, fields, used, checked.issues)
    try:
        save_price_list(request, checked.prices, instead_of=key)
    except EmmError as err:
        return _show(request, key, fields, used, {"": str(err)})
    return RedirectResponse("/tariffs", _SEE_OTHER)


def removal_page(request: Request) -> Response:
    """Ask whether to remove a price list."""
    return _ask(request, request.query_params)


def remove(request: Request, sent: Form) -> Response:
    """Remove a price list."""
    key = _key(sent.texts())
    if key is None:
        raise ConfigurationError("name and valid_from are missing")
    try:
        delete_price_lists(request, *key)
    except EmmError as err:
        return _ask(request, sent.texts(), str(err))
    return RedirectResponse("/tariffs", _SEE_OTHER)


def _ask(request: Request, fields: Mapping[str, str], error: str | None = None) -> Response:
    key = _key(fields)
    if key is None:
        raise ConfigurationError("name and valid_from are missing")
    found = find_price_list(site_of(request).engine, *key)
    return render(request, "tariff_removal.html", _INVALID if error else 200, prices=found, error=error)


def _key(fields: Mapping[str, str]) -> Key | None:
    """Return what identifies a price list; None if the day is missing.

    Raises:
        ConfigurationError: The day is not one.
    """
    day = fields.get("valid_from", "")
    try:
        return (fields.get("name", "").strip(), date.fromisoformat(day)) if day else None
    except ValueError:
        raise ConfigurationError(f"valid_from is {day[:20]!r}; allowed: a day such as 2026-03-01") from None


def _show(
    request: Request,
    key: Key | None,
    fields: Mapping[str, str],
    rows: Sequence[Mapping[str, str]],
    issues: Mapping[str, str] | None = None,
) -> Response:
    issues = issues or {}
    shown = [*rows, *[_EMPTY] * ROWS_TO_ADD]
    return render(
        request,
        "tariff_form.html",
        _INVALID if issues else 200,
        old=key,
        fields=fields,
        rows=[(row, _issues_of(place, issues)) for place, row in enumerate(shown)],
        issues=issues,
    )


def _issues_of(place: int, issues: Mapping[str, str]) -> dict[str, str]:
    """Return the issues of a row, by column."""
    begin = f"prices.{place}."
    return {name.removeprefix(begin): reason for name, reason in issues.items() if name.startswith(begin)}


def _text(value: Any) -> str:
    return f"{value:.12g}" if isinstance(value, float) else str(value)
