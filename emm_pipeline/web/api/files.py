"""Files of meters and registers for programs: as `emm meters import` and `export`, and `emm registers import`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from emm_pipeline.commissioning.meter_lists import plan_file
from emm_pipeline.config_db.editing.meter_files import listed, write_meter_file
from emm_pipeline.config_db.editing.meter_rows import load_meter_rows
from emm_pipeline.errors import ConfigurationError
from emm_pipeline.event_loop import in_thread
from emm_pipeline.web.api.replies import json_object, json_reply
from emm_pipeline.web.changes import write_meter_list, write_registers_of
from emm_pipeline.web.site import site_of

if TYPE_CHECKING:
    from starlette.requests import Request

FORMATS = ("csv", "yaml")
_INVALID = 400
_FLAGS = ("update", "dry_run", "replace")


def export_meters(request: Request) -> Response:
    """Return all meters as a CSV file that an import can read."""
    rows = [listed(row) for row in load_meter_rows(site_of(request).engine)]
    headers = {"Content-Disposition": 'attachment; filename="meters.csv"'}
    return Response(write_meter_file(rows, FORMATS[0]), media_type="text/csv; charset=utf-8", headers=headers)


async def import_meters(request: Request) -> Response:
    """Write the meters of a file: all of them, or none if a line is wrong."""
    given = await _wishes(request)
    return await in_thread(lambda: _import_meters(request, given), "api")


def _import_meters(request: Request, given: dict[str, Any]) -> Response:
    how_to_update = "send update: true"
    plan = plan_file(
        site_of(request).engine,
        given["content"].encode("utf-8", "surrogatepass"),
        given.get("format", FORMATS[0]),
        update=given.get("update", False),
        how_to_update=how_to_update,
    )
    is_written = not (plan.issues or given.get("dry_run", False))
    if is_written:
        write_meter_list(request, plan)
    return json_reply(plan.as_record(written=is_written) | _error(plan.issues), _INVALID if plan.issues else 200)


async def import_registers(request: Request) -> Response:
    """Write the registers of a CSV file: all of them, or none if a line is wrong."""
    given = await _wishes(request)
    return await in_thread(lambda: _import_registers(request, given), "api")


def _import_registers(request: Request, given: dict[str, Any]) -> Response:
    content = given["content"].encode("utf-8", "surrogatepass")
    replace, dry_run = given.get("replace", False), given.get("dry_run", False)
    done = write_registers_of(request, content, replace=replace, dry_run=dry_run)
    return json_reply(done.as_record() | _error(done.issues), _INVALID if done.issues else 200)


async def _wishes(request: Request) -> dict[str, Any]:
    given = await json_object(request)
    allowed = {"content", "format", *_FLAGS}
    if unknown := sorted(set(given) - allowed):
        raise ConfigurationError(f"unknown {', '.join(map(repr, unknown))}; allowed: {', '.join(sorted(allowed))}")
    if not isinstance(given.get("content"), str):
        raise ConfigurationError("content, the text of the file, is missing")
    if given.get("format", FORMATS[0]) not in FORMATS:
        raise ConfigurationError(f"format is {given['format']!r}; allowed: {', '.join(FORMATS)}")
    for name in _FLAGS:
        if not isinstance(given.get(name, False), bool):
            raise ConfigurationError(f"{name} is {given[name]!r}; allowed: true, false")
    return given


def _error(issues: Any) -> dict[str, Any]:
    """Return the key that each reply to an error has."""
    return {"error": f"nothing was written: {issues[0]}", "issues": [str(each) for each in issues]} if issues else {}
