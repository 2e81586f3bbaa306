"""`/api/status` and `/api/meters`: what `emm status --json` and `emm meters list --json` print, and changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.responses import Response

from emm_pipeline.condition.records import meter_record, meter_records, pipeline_record
from emm_pipeline.errors import ConfigDatabaseError, ConfigurationError
from emm_pipeline.event_loop import in_thread
from emm_pipeline.web.api.replies import json_object, json_reply
from emm_pipeline.web.changes import change_meter, delete_meter, new_meter, start_poll
from emm_pipeline.web.rendering import from_ms
from emm_pipeline.web.site import meter_id_of, site_of

if TYPE_CHECKING:
    from starlette.requests import Request

    from emm_pipeline.condition.meters import MeterCondition

_NOT_FOUND, _CREATED, _NO_CONTENT, _ACCEPTED = 404, 201, 204, 202

TYPES: dict[str, tuple[type, ...]] = {
    "host": (str,),
    "port": (int,),
    "slave_address": (int,),
    "type": (str,),
    "description": (str, type(None)),
    "enabled": (bool,),
    "transport": (str, type(None)),
    "serial_settings": (str, type(None)),
    "factor": (int, float),
    "may_be_off": (bool,),
    "tariff": (str, type(None)),
    "max_power_w": (int, float, type(None)),
}
"""The columns that a program may write, and the types of their values."""
NEEDED = ("host", "port", "slave_address", "type")


def status(request: Request) -> Response:
    """Return all parts and meters."""
    return json_reply(pipeline_record(site_of(request).fleet.get().condition))


def meters(request: Request) -> Response:
    """Return all meters."""
    found = site_of(request).fleet.get().condition.meters
    if found is None:
        raise ConfigDatabaseError("the meters are not known, because PostgreSQL is unavailable")
    return json_reply(meter_records(found))


def meter(request: Request) -> Response:
    """Return a meter with its last reading."""
    found = _meter(request)
    reading = site_of(request).latest.of(meter_id_of(request))
    values = [
        {"measurement": name, "unit": unit, "value": value} for name, unit, value in (reading.rows() if reading else ())
    ]
    return json_reply(meter_record(found) | {"read_at": from_ms(reading.time) if reading else None, "values": values})


async def add(request: Request) -> Response:
    """Add a meter; `force` adds it even if its unit is known."""
    row = await json_object(request)
    force = row.pop("force", False) is True
    missing = [name for name in NEEDED if name not in row]
    if missing:
        raise ConfigurationError(f"the meter lacks {', '.join(missing)}")
    checked = _checked(row)
    return json_reply(await in_thread(lambda: new_meter(request, checked, force=force), "api"), _CREATED)


async def edit(request: Request) -> Response:
    """Change columns of a meter."""
    meter_id, changes = meter_id_of(request), await json_object(request)
    force = changes.pop("force", False) is True
    if not changes:
        raise ConfigurationError("nothing to change")
    checked = _checked(changes)
    return json_reply(await in_thread(lambda: change_meter(request, meter_id, checked, force=force), "api"))


def remove(request: Request) -> Response:
    """Remove a meter."""
    _meter(request)
    delete_meter(request, meter_id_of(request))
    return Response(status_code=_NO_CONTENT)


def poll(request: Request) -> Response:
    """Poll a meter now, through Dagster."""
    _meter(request)
    return json_reply({"run": start_poll(request, meter_id_of(request))}, _ACCEPTED)


def _meter(request: Request) -> MeterCondition:
    found = site_of(request).fleet.get().by_id.get(meter_id_of(request))
    if found is None:
        raise HTTPException(_NOT_FOUND)
    return found


def _checked(row: dict[str, Any]) -> dict[str, Any]:
    """Return the row if its columns may be written, and its values have the right types."""
    unknown = sorted(set(row) - set(TYPES))
    if unknown:
        raise ConfigurationError(f"unknown columns {', '.join(map(repr, unknown))}; allowed: {', '.join(TYPES)}")
    for name, value in row.items():
        is_flag = isinstance(value, bool)
        if not isinstance(value, TYPES[name]) or (is_flag and bool not in TYPES[name]):
            wanted = " or ".join(kind.__name__ for kind in TYPES[name]).replace("NoneType", "null")
            raise ConfigurationError(f"{name} is {value!r}; allowed: {wanted}")
    return row
