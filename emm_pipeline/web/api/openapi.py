"""`/api/openapi.json`: the description of the API (OpenAPI 3.1)."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from emm_pipeline.energy.periods import Period
from emm_pipeline.status import State
from emm_pipeline.web.api.latest import STEPS
from emm_pipeline.web.api.meters import NEEDED
from emm_pipeline.web.api.replies import json_reply

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_TIME = {"type": ["string", "null"], "format": "date-time"}
_TEXT = {"type": ["string", "null"]}
_VALUE = {
    "type": "object",
    "properties": {"measurement": {"type": "string"}, "unit": _TEXT, "value": {"type": ["number", "null"]}},
}
_SCHEMAS: dict[str, Any] = {
    "Error": {"type": "object", "properties": {"error": {"type": "string"}}},
    "MeterRow": {
        "type": "object",
        "properties": {
            "host": {"type": "string"},
            "port": {"type": "integer"},
            "slave_address": {"type": "integer", "description": "The unit id."},
            "type": {"type": "string"},
            "description": _TEXT,
            "enabled": {"type": "boolean"},
            "transport": {"type": ["string", "null"], "enum": ["tcp", "rtu", "udp", "serial", None]},
            "serial_settings": _TEXT,
            "factor": {"type": "number"},
            "may_be_off": {"type": "boolean"},
            "force": {"type": "boolean", "description": "Write it even if another meter is the same unit."},
        },
    },
    "Meter": {
        "type": "object",
        "properties": {
            "id": {"type": ["integer", "null"]},
            "description": _TEXT,
            "status": {"type": "string", "enum": list(State)},
            "since": _TIME,
            "reason": _TEXT,
            "what_to_do": _TEXT,
            "last_read_at": _TIME,
            "next_attempt_at": _TIME,
        },
    },
    "Reading": {
        "type": "object",
        "properties": {
            "id": {"type": "integer"},
            "description": _TEXT,
            "read_at": _TIME,
            "values": {"type": "array", "items": _VALUE},
        },
    },
    "Scan": {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "status": {"type": "string", "enum": ["running", "done", "cancelled", "failed"]},
            "gateway": {"type": "string"},
            "asked": {"type": "integer"},
            "total": {"type": "integer"},
            "error": _TEXT,
            "messages": {"type": "array", "items": {"type": "string"}},
            "units": {"type": "array", "items": {"type": "object"}},
        },
    },
    "Series": {
        "type": "object",
        "properties": {
            "measurement": {"type": "string"},
            "unit": _TEXT,
            "step_s": {"type": "integer"},
            "times": {"type": "array", "items": {"type": "integer"}, "description": "Seconds since 1970, UTC."},
            **{name: {"type": "array", "items": {"type": "number"}} for name in ("mean", "low", "high")},
        },
    },
}

_SCAN_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["host"],
                "properties": {
                    "host": {"type": "string"},
                    "port": {"type": "integer", "default": 502},
                    "units": {"type": "string", "default": "1-20", "description": "Such as 1,3,10-20."},
                    "transport": {"type": "string", "enum": ["tcp", "rtu", "udp", "serial"]},
                },
            }
        }
    },
}


def document(_: Request) -> Response:
    """Return the description."""
    return json_reply(openapi())


@cache
def openapi() -> dict[str, Any]:
    """Return the description of every path."""
    meter_id = _parameter("id", "The meter's id.", {"type": "integer"}, place="path")
    scan_id = _parameter("id", "The scan's id.", {"type": "string"}, place="path")
    words = _parameter("q", "Words that the types contain.", {"type": "string"})
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "EMM",
            "version": version("emm-pipeline"),
            "description": "Meters, their status and values. Programs send a token: `Authorization: Bearer …`.",
        },
        "security": [{"token": []}],
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": _SCHEMAS,
        },
        "paths": {
            "/api/openapi.json": {"get": _operation("This description", {"type": "object"})},
            "/api/status": {
                "get": _operation("Every part and every meter, as `emm status --json`", {"type": "object"})
            },
            "/api/meters": {
                "get": _operation("All meters", {"type": "array", "items": _ref("Meter")}),
                "post": _operation("Add a meter", _ref("MeterRow"), status="201", body=_body(NEEDED)),
            },
            "/api/meters/{id}": {
                "parameters": [meter_id],
                "get": _operation("A meter with its last reading", _ref("Meter")),
                "patch": _operation("Change a meter", _ref("MeterRow"), body=_body(())),
                "delete": _operation("Remove a meter; its readings stay", None, status="204"),
            },
            "/api/meters/{id}/poll": {
                "parameters": [meter_id],
                "post": _operation("Poll a meter now, through Dagster", {"type": "object"}, status="202"),
            },
            "/api/meters/{id}/series": {
                "parameters": [
                    meter_id,
                    _parameter("measurement", "Its name.", {"type": "string"}, required=True),
                    _parameter("unit", "Its unit.", {"type": "string"}),
                    _parameter("hours", "How far back.", {"type": "integer", "enum": list(STEPS), "default": 24}),
                ],
                "get": _operation("A series of the store", _ref("Series")),
            },
            "/api/latest": {
                "parameters": [_parameter("id", "Only these meters.", {"type": "array", "items": {"type": "integer"}})],
                "get": _operation(
                    "The last reading of every meter",
                    {"type": "object", "properties": {"meters": {"type": "array", "items": _ref("Reading")}}},
                ),
            },
            "/api/energy": {
                "parameters": [
                    _parameter("by", "The period.", {"type": "string", "enum": list(Period), "default": "day"}),
                    _parameter("from", "The first day.", {"type": "string", "format": "date"}),
                    _parameter("to", "The day after the last one.", {"type": "string", "format": "date"}),
                    _parameter("id", "Only these meters.", {"type": "array", "items": {"type": "integer"}}),
                ],
                "get": _operation("Energy of intervals", {"type": "array", "items": {"type": "object"}}),
            },
            "/api/scans": {"post": _operation("Scan a gateway", _ref("Scan"), status="202", body=_SCAN_BODY)},
            "/api/scans/{id}": {
                "parameters": [scan_id],
                "get": _operation("The progress of a scan", _ref("Scan")),
                "delete": _operation("Cancel a scan", _ref("Scan"), status="202"),
            },
            "/api/scans/{id}/events": {
                "parameters": [scan_id],
                "get": _operation("The progress as server-sent events", None, media="text/event-stream"),
            },
            "/api/types": {
                "parameters": [words],
                "get": _operation(
                    "Types of the catalogue and the database", {"type": "array", "items": {"type": "object"}}
                ),
            },
            "/api/types/{name}": {
                "parameters": [_parameter("name", "The type's name.", {"type": "string"}, place="path")],
                "get": _operation("A type with its registers", {"type": "object"}),
            },
            "/metrics": {
                "parameters": [_parameter("values", "With the latest values.", {"type": "integer", "enum": [1]})],
                "get": _operation("Metrics for Prometheus", None, media="text/plain"),
            },
        },
    }


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _parameter(
    name: str, text: str, schema: dict[str, Any], *, place: str = "query", required: bool = False
) -> dict[str, Any]:
    is_required = required or place == "path"
    return {"name": name, "in": place, "required": is_required, "description": text, "schema": schema}


def _body(needed: tuple[str, ...]) -> dict[str, Any]:
    schema = {"allOf": [_ref("MeterRow")], "required": list(needed)} if needed else _ref("MeterRow")
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _operation(
    summary: str,
    schema: dict[str, Any] | None,
    *,
    status: str = "200",
    body: dict[str, Any] | None = None,
    media: str = "application/json",
) -> dict[str, Any]:
    done: dict[str, Any] = {"description": summary}
    if schema is not None or media != "application/json":
        done["content"] = {media: {"schema": schema or {"type": "string"}}}
    error = {"description": "It failed", "content": {"application/json": {"schema": _ref("Error")}}}
    operation: dict[str, Any] = {"summary": summary, "responses": {status: done, "default": error}}
    return operation | ({"requestBody": body} if body else {})
