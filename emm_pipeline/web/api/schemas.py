"""The parts of the API's description: records, bodies of requests, operations (pure)."""

from __future__ import annotations

from typing import Any

from emm_pipeline.status import State

_TIME = {"type": ["string", "null"], "format": "date-time"}
_TEXT = {"type": ["string", "null"]}
_VALUE = {
    "type": "object",
    "properties": {"measurement": {"type": "string"}, "unit": _TEXT, "value": {"type": ["number", "null"]}},
}
SCHEMAS: dict[str, Any] = {
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
            "tariff": {"type": ["string", "null"], "description": "The name of its prices."},
            "max_power_w": {"type": ["number", "null"], "exclusiveMinimum": 0},
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
    "PriceList": {
        "type": "object",
        "required": ["name", "valid_from", "prices"],
        "properties": {
            "name": {"type": "string"},
            "valid_from": {"type": "string", "format": "date"},
            "currency": {"type": "string", "default": "EUR"},
            "base_price_per_month": {"type": "number", "default": 0},
            "prices": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "required": ["price_per_kwh"],
                    "properties": {
                        "price_per_kwh": {"type": "number"},
                        "export_price": {"type": "number", "default": 0},
                        "weekdays": {"type": "string", "default": "1-7", "description": "1 is Monday."},
                        "from_time": {"type": "string", "default": "00:00"},
                        "to_time": {"type": "string", "default": "00:00"},
                    },
                },
            },
        },
    },
    "Energy": {
        "type": "object",
        "properties": {
            "time": {"type": "string", "format": "date-time"},
            "id": {"type": "integer"},
            "description": _TEXT,
            "measurement": {"type": "string"},
            "energy": {"type": "number"},
            "unit": _TEXT,
            "coverage": {"type": "number", "description": "Percent of the time."},
            "estimated": {"type": "number"},
            "readings": {"type": "integer"},
            "flags": _TEXT,
            "cost": {"type": ["number", "null"]},
            "currency": _TEXT,
        },
    },
    "File": {
        "type": "object",
        "required": ["content"],
        "properties": {
            "content": {"type": "string", "description": "The text of the file."},
            "format": {"type": "string", "enum": ["csv", "yaml"], "default": "csv", "description": "Meters only."},
            "update": {"type": "boolean", "description": "Change meters that are there, too."},
            "replace": {"type": "boolean", "description": "Also remove registers that the file does not have."},
            "dry_run": {"type": "boolean", "description": "Write nothing."},
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

SCAN_BODY: dict[str, Any] = {
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


def ref(name: str) -> dict[str, Any]:
    """Return a reference to one of SCHEMAS."""
    return {"$ref": f"#/components/schemas/{name}"}


def parameter(
    name: str, text: str, schema: dict[str, Any], *, place: str = "query", required: bool = False
) -> dict[str, Any]:
    """Return a parameter of the query or the path."""
    is_required = required or place == "path"
    return {"name": name, "in": place, "required": is_required, "description": text, "schema": schema}


def body(name: str, needed: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a request's body with one of SCHEMAS, of which it must have some keys."""
    schema = {"allOf": [ref(name)], "required": list(needed)} if needed else ref(name)
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def operation(
    summary: str,
    schema: dict[str, Any] | None,
    *,
    status: str = "200",
    sent: dict[str, Any] | None = None,
    media: str = "application/json",
) -> dict[str, Any]:
    """Return an operation with its reply, or an error."""
    done: dict[str, Any] = {"description": summary}
    if schema is not None or media != "application/json":
        done["content"] = {media: {"schema": schema or {"type": "string"}}}
    error = {"description": "It failed", "content": {"application/json": {"schema": ref("Error")}}}
    operation: dict[str, Any] = {"summary": summary, "responses": {status: done, "default": error}}
    return operation | ({"requestBody": sent} if sent else {})
