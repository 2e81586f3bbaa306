"""`/api/types`: the types of the catalogue and of the database, as `emm types list --json` prints them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException

from emm_pipeline.catalog import load_catalogue
from emm_pipeline.commissioning.type_lists import Wanted, listed
from emm_pipeline.config_db.editing.meter_rows import load_meter_rows
from emm_pipeline.config_db.editing.register_rows import REGISTER_COLUMNS, place_of, register_row
from emm_pipeline.config_db.editing.type_tables import load_types_of
from emm_pipeline.web.api.replies import json_reply
from emm_pipeline.web.site import site_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_NOT_FOUND = 404


def types(request: Request) -> Response:
    """Return all types, or those that contain the words in `q`."""
    return json_reply(entries(request, Wanted(request.query_params.get("q", "")[:200].split())))


def one_type(request: Request) -> Response:
    """Return a type with its registers: those of the database, or else those of the catalogue."""
    name = request.path_params["name"]
    found = [entry for entry in entries(request, Wanted([name])) if entry["type"] == name]
    if not found:
        raise HTTPException(_NOT_FOUND)
    return json_reply(
        found[0] | {"rows": [dict(zip(REGISTER_COLUMNS, row, strict=True)) for row in rows(request, name)]}
    )


def entries(request: Request, wanted: Wanted) -> list[dict[str, Any]]:
    """Return the wanted types with their state in the database, and the number of their meters."""
    engine = site_of(request).engine
    used = Counter(str(row.get("type")).strip() for row in load_meter_rows(engine))
    return listed(load_catalogue(), load_types_of(engine), used, wanted)


def rows(request: Request, name: str) -> list[tuple[Any, ...]]:
    """Return a type's registers as rows of the table, ordered by address."""
    database = load_types_of(site_of(request).engine)
    if name in database and database[name].registers:
        return sorted(database[name].registers, key=place_of)
    entry = load_catalogue().get(name)
    return [register_row(name, register) for register in entry.registers] if entry else []
