"""The application: its routes, and the check of requests around it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from emm_pipeline.http_access.origins import Origins, names_in
from emm_pipeline.web import energies
from emm_pipeline.web.api import files, latest, meters, metrics, openapi, tariff_lists, types
from emm_pipeline.web.errors import HANDLERS
from emm_pipeline.web.forms import on_form
from emm_pipeline.web.pages import (
    catalogue,
    editing,
    login,
    meter,
    overview,
    pipeline,
    programs,
    scanning,
    tariffs,
    uploads,
)
from emm_pipeline.web.rendering import STATIC
from emm_pipeline.web.security.access import HEALTH_PATH, LOGIN_PATH, Access

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from emm_pipeline.web.site import Site

PAGES = (
    Route("/", overview.overview),
    Route("/meters", overview.overview_rows),
    Route("/meters/{id}", meter.meter_page),
    Route("/meters/{id}/values", meter.meter_values),
    Route("/meters/{id}/energy", energies.meter_energy),
    Route("/meters/{id}/failures", meter.meter_failures),
    Route("/meters/{id}/enable", meter.enable, methods=["POST"]),
    Route("/meters/{id}/disable", meter.disable, methods=["POST"]),
    Route("/meters/{id}/poll", meter.poll, methods=["POST"]),
    Route("/meters/{id}/edit", editing.edit_page),
    Route("/meters/{id}/edit", on_form(editing.edit), methods=["POST"]),
    Route("/meters/{id}/registers", editing.registers, methods=["POST"]),
    Route("/meters/{id}/remove", meter.removal_page),
    Route("/meters/{id}/remove", meter.remove, methods=["POST"]),
    Route("/add", scanning.add_page),
    Route("/add/meter", editing.add_page),
    Route("/add/meter", on_form(editing.add), methods=["POST"]),
    Route("/add/file", uploads.upload_page),
    Route("/add/file", on_form(uploads.upload), methods=["POST"]),
    Route("/scans", on_form(scanning.start), methods=["POST"]),
    Route("/scans/{id}", scanning.scan_page),
    Route("/scans/{id}/units", scanning.found_units),
    Route("/scans/{id}/values", scanning.unit_values),
    Route("/scans/{id}/events", scanning.events),
    Route("/scans/{id}/cancel", scanning.cancel, methods=["POST"]),
    Route("/scans/{id}/add", on_form(scanning.add_units), methods=["POST"]),
    Route("/catalogue", catalogue.catalogue_page),
    Route("/catalogue/rows", catalogue.catalogue_rows),
    Route("/catalogue/{name}", catalogue.type_page),
    Route("/catalogue/{name}/install", on_form(catalogue.install_type), methods=["POST"]),
    Route("/tariffs", tariffs.tariffs_page),
    Route("/tariffs/edit", tariffs.edit_page),
    Route("/tariffs/edit", on_form(tariffs.save), methods=["POST"]),
    Route("/tariffs/remove", tariffs.removal_page),
    Route("/tariffs/remove", on_form(tariffs.remove), methods=["POST"]),
    Route("/pipeline", pipeline.pipeline_page),
    Route("/changes", pipeline.changes_page),
    Route("/programs", programs.programs_page),
    Route("/programs", on_form(programs.create), methods=["POST"]),
    Route("/programs/{id}/revoke", programs.revoke, methods=["POST"]),
    Route(LOGIN_PATH, login.login_page),
    Route(LOGIN_PATH, login.log_in, methods=["POST"]),
    Route("/logout", login.log_out, methods=["POST"]),
    Route("/password", login.password_page),
    Route("/password", login.change_password, methods=["POST"]),
)

FOR_PROGRAMS = (
    Route("/api/openapi.json", openapi.document),
    Route("/api/status", meters.status),
    Route("/api/meters", meters.meters),
    Route("/api/meters", meters.add, methods=["POST"]),
    Route("/api/meters.csv", files.export_meters),
    Route("/api/meters/import", files.import_meters, methods=["POST"]),
    Route("/api/registers/import", files.import_registers, methods=["POST"]),
    Route("/api/meters/{id}", meters.meter),
    Route("/api/meters/{id}", meters.edit, methods=["PATCH"]),
    Route("/api/meters/{id}", meters.remove, methods=["DELETE"]),
    Route("/api/meters/{id}/poll", meters.poll, methods=["POST"]),
    Route("/api/meters/{id}/series", latest.series),
    Route("/api/latest", latest.latest),
    Route("/api/energy", energies.energy),
    Route("/api/scans", scanning.api_start, methods=["POST"]),
    Route("/api/scans/{id}", scanning.api_scan),
    Route("/api/scans/{id}", scanning.api_cancel, methods=["DELETE"]),
    Route("/api/scans/{id}/events", scanning.events),
    Route("/api/types", types.types),
    Route("/api/types/{name}", types.one_type),
    Route("/api/tariffs", tariff_lists.tariffs),
    Route("/api/tariffs", tariff_lists.put, methods=["PUT"]),
    Route("/api/tariffs", tariff_lists.remove, methods=["DELETE"]),
    Route("/metrics", metrics.metrics),
)


def health(_: Request) -> Response:
    """Report that this server replies."""
    return PlainTextResponse("ok\n")


def build_app(site: Site) -> Access:
    """Return the application of a site. Without a login, it accepts requests for this machine only."""
    app = Starlette(
        routes=[
            *PAGES,
            *FOR_PROGRAMS,
            Route(HEALTH_PATH, health),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        exception_handlers=dict(HANDLERS),
    )
    app.state.site = site
    settings = site.settings()
    hosts = names_in(settings.emm_hosts)
    if site.needs_login:
        hosts.add(settings.emm_proxy_host.lower())
    return Access(app, Origins(hosts, any_address=site.needs_login), site.callers, site.clients)
