"""`/api/openapi.json`: the description of the API (OpenAPI 3.1)."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from emm_pipeline.energy.periods import Period
from emm_pipeline.web.api.latest import STEPS
from emm_pipeline.web.api.meters import NEEDED
from emm_pipeline.web.api.replies import json_reply
from emm_pipeline.web.api.schemas import SCAN_BODY, SCHEMAS, body, operation, parameter, ref

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


def document(_: Request) -> Response:
    """Return the description."""
    return json_reply(openapi())


@cache
def openapi() -> dict[str, Any]:
    """Return the description of every path."""
    meter_id = parameter("id", "The meter's id.", {"type": "integer"}, place="path")
    scan_id = parameter("id", "The scan's id.", {"type": "string"}, place="path")
    words = parameter("q", "Words that the types contain.", {"type": "string"})
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
            "schemas": SCHEMAS,
        },
        "paths": {
            "/api/openapi.json": {"get": operation("This description", {"type": "object"})},
            "/api/status": {"get": operation("Every part and every meter, as `emm status --json`", {"type": "object"})},
            "/api/meters": {
                "get": operation("All meters", {"type": "array", "items": ref("Meter")}),
                "post": operation("Add a meter", ref("MeterRow"), status="201", sent=body("MeterRow", NEEDED)),
            },
            "/api/meters.csv": {
                "get": operation("All meters as a file that an import can read", None, media="text/csv"),
            },
            "/api/meters/import": {
                "post": operation("Write a file of meters: all or none", {"type": "object"}, sent=body("File")),
            },
            "/api/registers/import": {
                "post": operation("Write a file of registers: all or none", {"type": "object"}, sent=body("File")),
            },
            "/api/meters/{id}": {
                "parameters": [meter_id],
                "get": operation("A meter with its last reading", ref("Meter")),
                "patch": operation("Change a meter", ref("MeterRow"), sent=body("MeterRow")),
                "delete": operation("Remove a meter; its readings stay", None, status="204"),
            },
            "/api/meters/{id}/poll": {
                "parameters": [meter_id],
                "post": operation("Poll a meter now, through Dagster", {"type": "object"}, status="202"),
            },
            "/api/meters/{id}/series": {
                "parameters": [
                    meter_id,
                    parameter("measurement", "Its name.", {"type": "string"}, required=True),
                    parameter("unit", "Its unit.", {"type": "string"}),
                    parameter("hours", "How far back.", {"type": "integer", "enum": list(STEPS), "default": 24}),
                ],
                "get": operation("A series of the store", ref("Series")),
            },
            "/api/latest": {
                "parameters": [parameter("id", "Only these meters.", {"type": "array", "items": {"type": "integer"}})],
                "get": operation(
                    "The last reading of every meter",
                    {"type": "object", "properties": {"meters": {"type": "array", "items": ref("Reading")}}},
                ),
            },
            "/api/energy": {
                "parameters": [
                    parameter("by", "The period.", {"type": "string", "enum": list(Period), "default": "day"}),
                    parameter("from", "The first day.", {"type": "string", "format": "date"}),
                    parameter("to", "The day after the last one.", {"type": "string", "format": "date"}),
                    parameter("id", "Only these meters.", {"type": "array", "items": {"type": "integer"}}),
                ],
                "get": operation("Energy of intervals", {"type": "array", "items": ref("Energy")}),
            },
            "/api/scans": {"post": operation("Scan a gateway", ref("Scan"), status="202", sent=SCAN_BODY)},
            "/api/scans/{id}": {
                "parameters": [scan_id],
                "get": operation("The progress of a scan", ref("Scan")),
                "delete": operation("Cancel a scan", ref("Scan"), status="202"),
            },
            "/api/scans/{id}/events": {
                "parameters": [scan_id],
                "get": operation("The progress as server-sent events", None, media="text/event-stream"),
            },
            "/api/types": {
                "parameters": [words],
                "get": operation(
                    "Types of the catalogue and the database", {"type": "array", "items": {"type": "object"}}
                ),
            },
            "/api/types/{name}": {
                "parameters": [parameter("name", "The type's name.", {"type": "string"}, place="path")],
                "get": operation("A type with its registers", {"type": "object"}),
            },
            "/api/tariffs": {
                "get": operation("All price lists", {"type": "array", "items": ref("PriceList")}),
                "put": operation("Add or replace a price list", ref("PriceList"), sent=body("PriceList")),
                "delete": operation("Remove a price list, or a tariff", None, status="204")
                | {
                    "parameters": [
                        parameter("name", "The tariff.", {"type": "string"}, required=True),
                        parameter("valid_from", "Only this list.", {"type": "string", "format": "date"}),
                    ]
                },
            },
            "/metrics": {
                "parameters": [parameter("values", "With the latest values.", {"type": "integer", "enum": [1]})],
                "get": operation("Metrics for Prometheus", None, media="text/plain"),
            },
        },
    }
