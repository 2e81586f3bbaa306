"""Every page for everyone, in a real browser: axe's rules, light and dark, a phone, the keyboard alone."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest
from playwright.sync_api import Page, expect
from support.accessibility import (
    DESKTOP,
    PHONE,
    contrast_violations,
    focused,
    phone_violations,
    small_controls,
    tab_to,
    violations,
    wider_than_the_screen,
)
from support.catalogue_devices import SITUATIONS
from support.meters import SimulatedGateway, SimulatedUnit, encode_registers
from support.web import PASSWORD, WebServer

from emm_pipeline.catalog import load_catalogue
from emm_pipeline.stores.points import PointBatch
from emm_pipeline.stores.postgresql.store import PostgresReadingsStore
from emm_pipeline.web.app import PAGES

pytestmark = [pytest.mark.end_to_end, pytest.mark.usefixtures("no_messages")]

PARTS = (
    *("/meters", "/meters/{id}/values", "/meters/{id}/energy", "/meters/{id}/failures"),
    *("/scans/{id}/units", "/scans/{id}/values", "/scans/{id}/events", "/catalogue/rows"),
)
"""Parts that a page loads into itself."""
PLACES = [route.path for route in PAGES if "GET" in (route.methods or ()) and route.path not in PARTS]
VALUES = {"voltageL1": 231.4, "activePower": 983.4, "importActiveEnergy": 12345.6}
UNITS = {"voltageL1": "V", "activePower": "W", "importActiveEnergy": "kWh"}


class Shown(NamedTuple):
    """A server that a person has logged in to, with meters of every status, and the path of a scan that has ended."""

    server: WebServer
    scan: str

    def address(self, place: str) -> str:
        """Return the address of a page by its route."""
        if place in {"/tariffs/edit", "/tariffs/remove"}:
            return f"{self.server.url}{place}?name=house&valid_from=2026-01-01"
        path = place.replace("/meters/{id}", "/meters/1").replace("/scans/{id}", self.scan)
        return self.server.url + path.replace("/catalogue/{name}", "/catalogue/sdm630")


@pytest.fixture(scope="module")
def gateway(simulator_loop) -> Iterator[SimulatedGateway]:
    meter_type = load_catalogue()["sdm630"].meter_type
    values = {each.measurement_name: SITUATIONS[0].value(each.measurement_name) for each in meter_type.measured}
    doubled = {name: value * 2 if "Energy" in name else value for name, value in values.items()}
    units = {unit: SimulatedUnit(encode_registers(meter_type, each)) for unit, each in ((1, values), (2, doubled))}
    with SimulatedGateway(units, loop=simulator_loop) as gateway:
        yield gateway


def fill(web: WebServer) -> None:
    """Add meters of several statuses, and the readings and failures of a day."""
    for id_, name in enumerate(("main distribution", "heat pump", "bakery", "a" * 60, "barn"), 1):
        web.add_meter(id_, name)
    web.sql("UPDATE energy_meters SET enabled = false WHERE id = 3; UPDATE energy_meters SET type = 'x' WHERE id = 4")
    web.sql(
        "INSERT INTO meter_status (id, failing_since, reason, polled_at, failures_in_a_row) "
        "VALUES (2, now(), 'no reply within 3 s', now(), 4)"
    )
    now = datetime.now(UTC).replace(microsecond=0)
    times = [round((now - timedelta(minutes=15 * step)).timestamp() * 1000) for step in range(96)]
    readings = [
        {
            "time": time,
            "id": 1,
            "description": "main distribution",
            "measurement": name,
            "unit": UNITS[name],
            "value": value,
        }
        for time in times
        for name, value in VALUES.items()
    ]
    failed = {"id": 1, "description": "main distribution", "ok": False, "latency_ms": None, "requests": 1, "points": 0}
    polls = [failed | {"time": times[-1] - 450_000, "error": "no reply within 3 s", "status": "failing"}]
    batch = PointBatch.of(readings, polls)
    PostgresReadingsStore(web.engine).write(batch)
    web.site.latest.add(batch)


@pytest.fixture(scope="module")
def shown(page: Page, web: WebServer, gateway) -> Shown:
    fill(web)
    page.goto(web.url)
    page.get_by_label("User").fill("admin")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.goto(f"{web.url}/tariffs/edit")
    page.get_by_label("Tariff", exact=True).fill("house")
    page.get_by_label("Valid from").fill("2026-01-01")
    page.get_by_label("Per kWh, row 1", exact=True).fill("0.32")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("link", name="Add meters").click()
    page.get_by_label("Gateway, name or address").fill(f"{gateway.host}:{gateway.port}")
    page.get_by_label("Units").fill("1-3")
    page.get_by_role("button", name="Scan").click()
    expect(page.get_by_text("2 of 3 units answer")).to_be_visible()
    return Shown(web, page.url.removeprefix(web.url))


@pytest.fixture(autouse=True)
def desktop(page: Page) -> None:
    page.set_viewport_size(DESKTOP)
    page.emulate_media(color_scheme="light")


def open_page(page: Page, address: str) -> None:
    """Open a page with everything that it loads into itself."""
    page.goto(address)
    page.wait_for_load_state("networkidle")


@pytest.mark.parametrize("place", PLACES)
def test_everyone_can_use_the_page_in_light_and_dark_and_on_a_phone(page: Page, shown, place):
    open_page(page, shown.address(place))
    assert page.locator("main h1").count() == 1
    assert violations(page) == []
    page.emulate_media(color_scheme="dark")
    assert contrast_violations(page) == []
    page.set_viewport_size(PHONE)
    assert wider_than_the_screen(page) == []
    assert small_controls(page) == []
    assert phone_violations(page) == []


def test_dark_is_dark_and_light_is_light(page: Page, shown):
    page.goto(shown.server.url)
    brightness = "() => getComputedStyle(document.documentElement).backgroundColor.match(/\\d+/g).map(Number)"
    assert min(page.evaluate(brightness)) > 200
    page.emulate_media(color_scheme="dark")
    assert max(page.evaluate(brightness)) < 50


def test_the_registers_of_a_meter_are_readable_on_a_phone(page: Page, shown, gateway):
    shown.server.add_meter(50, "real", gateway.port)
    page.set_viewport_size(PHONE)
    open_page(page, f"{shown.server.url}/meters/50")
    page.get_by_role("button", name="Read registers").click()
    expect(page.get_by_text("4 of 4 registers read")).to_be_visible()
    assert wider_than_the_screen(page) == []
    assert violations(page) == []


def test_a_page_that_does_not_exist_can_be_left_with_the_keyboard(page: Page, shown, messages):
    page.goto(f"{shown.server.url}/none")
    messages.clear()
    assert violations(page) == []
    tab_to(page, "Overview")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Meters", level=1)).to_be_visible()


def test_meters_are_added_with_the_keyboard_alone(page: Page, shown, gateway):
    shown.server.sql("DELETE FROM energy_meters WHERE port <> 502")
    page.goto(shown.server.url)
    page.keyboard.press("Tab")
    assert focused(page) == (True, "A", "Skip to content")
    tab_to(page, "Add meters")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Add meters", level=1)).to_be_visible()
    tab_to(page, "host")
    page.keyboard.type(f"{gateway.host}:{gateway.port}")
    tab_to(page, "units")
    page.keyboard.press("Control+A")
    page.keyboard.type("1,2")
    page.keyboard.press("Enter")
    expect(page.get_by_text("2 of 2 units answer")).to_be_visible()
    expect(page.get_by_text("voltageL1 231.4 V")).to_have_count(2)
    tab_to(page, "unit")
    page.keyboard.press("Space")
    expect(page.get_by_role("checkbox").first).not_to_be_checked()
    tab_to(page, "Name of unit 2")
    page.keyboard.type("workshop")
    tab_to(page, "Add the chosen units")
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 meter added")).to_be_visible()
    tab_to(page, "workshop")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="workshop", level=1)).to_be_visible()


def test_the_focus_stays_where_it_is_when_the_overview_is_updated(page: Page, shown):
    page.goto(shown.server.url)
    for name in (re.compile(r"^\d+ meters?$"), "heat pump"):
        link = page.get_by_role("link", name=name)
        link.focus()
        with page.expect_response(re.compile("/meters$")):
            page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        page.wait_for_function("() => !document.querySelector('[data-busy]')")
        expect(link).to_be_focused()


def test_the_chart_is_described_in_words_and_follows_the_choice_of_a_measurement(page: Page, shown):
    open_page(page, f"{shown.server.url}/meters/1")
    chart = page.locator("#chart[role=img]")
    expect(chart).to_have_attribute("aria-label", re.compile("^activePower: lowest 983.4 W"))
    page.get_by_label("Measurement").select_option("voltageL1")
    expect(chart).to_have_attribute("aria-label", re.compile("^voltageL1: .*231.4 V"))
