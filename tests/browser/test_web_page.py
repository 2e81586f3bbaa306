"""A newcomer with the real demo and a real browser: from an empty fleet to the values of three meters.

Each test continues the previous one.
"""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Locator, Page, expect
from support.axe import barriers
from support.browser import TakePicture
from support.dagster_ui import DagsterUI, wait_for
from support.meters import SimulatedGateway, SimulatedUnit, encode_registers
from support.ports import free_port
from support.postgres import postgres_folder

from emm_pipeline.catalog import load_catalogue
from emm_pipeline.cli.demo.processes import answers

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(240)]

PHASES = {"L1": 230.0, "L2": 231.0, "L3": 232.0}
HOUSE = {
    **{f"voltage{phase}": volts for phase, volts in PHASES.items()},
    **{f"current{phase}": 5.0 for phase in PHASES},
    "activePower": 3456.0,
    "frequency": 49.98,
    "importActiveEnergy": 12345.5,
}
PAGES = (
    "/",
    "/add",
    "/add/meter",
    "/catalogue",
    "/catalogue/sdm630",
    "/pipeline",
    "/programs",
    "/changes",
    "/meters/0",
)


@pytest.fixture(scope="module")
def gateway(simulator_loop) -> Iterator[SimulatedGateway]:
    registers = encode_registers(load_catalogue()["sdm630"].meter_type, HOUSE)
    units = {unit: SimulatedUnit(registers) for unit in (1, 2, 3)}
    with SimulatedGateway(units, loop=simulator_loop) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def demo() -> Iterator[str]:
    """The address of the page of a running demo."""
    emm = Path(sys.executable).with_name("emm")
    port, web_port = free_port(), free_port()
    with postgres_folder() as folder:
        command = [emm, "demo", "--data-dir", folder / "demo", "--port", str(port), "--web-port", str(web_port)]
        output = (folder / "output").open("w+")
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            url = f"http://127.0.0.1:{web_port}"
            wait_for("the page", lambda: process.poll() is not None or answers(f"{url}/healthz"), 120)
            ui = DagsterUI(f"http://127.0.0.1:{port}")
            wait_for("Dagster", lambda: process.poll() is not None or answers(f"{ui.url}/server_info"), 120)
            yield url
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)
            output.seek(0)
            printed = output.read()
            output.close()
    assert process.returncode == 0, printed
    assert printed.index(url) < printed.index("test_measurement"), "the page's address comes first"


@pytest.fixture(scope="module", autouse=True)
def messages(page: Page) -> list[str]:
    """The messages of the browser: errors of scripts, refused contents, failed requests."""
    found: list[str] = []
    page.on("console", lambda message: found.append(message.text) if message.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: found.append(str(error)))
    return found


@pytest.fixture(autouse=True)
def no_messages(messages) -> Iterator[None]:
    messages.clear()
    yield
    refused = re.compile(r"Failed to load resource.*\b(422|400|404)\b")
    assert [each for each in messages if not refused.search(each)] == []


def field_of(page: Page, name: str) -> Locator:
    """Return the text field whose label begins with a name."""
    return page.get_by_role("textbox", name=re.compile(f"^{name}"))


def test_the_overview_shows_the_demos_meter(page: Page, demo):
    page.goto(demo)
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name="test_energy_meter"))
    expect(row.get_by_text("ok", exact=True)).to_be_visible()


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("Gateway", "a b", "the gateway 'a b'"),
        ("Port", "abc", "the port is 'abc'"),
        ("Port", "70000", "the port is '70000'"),
        ("Units", "1-999", "is not a unit id"),
        ("Units", "", "is not a unit id"),
    ],
)
def test_wrong_input_of_a_scan_is_reported_and_kept(page: Page, demo, field, value, told):
    page.goto(f"{demo}/add")
    field_of(page, "Gateway").fill("127.0.0.1")
    field_of(page, field).fill(value)
    page.get_by_role("button", name="Scan").click()
    expect(page.get_by_role("alert")).to_contain_text(told)
    expect(field_of(page, field)).to_have_value(value)


def test_a_gateway_that_does_not_answer_is_reported_with_what_to_do(page: Page, demo):
    page.goto(f"{demo}/add")
    field_of(page, "Gateway").fill("127.0.0.1")
    field_of(page, "Port").fill("1")
    page.get_by_role("button", name="Scan").click()
    expect(page.get_by_role("alert")).to_contain_text("refused")


def test_a_newcomer_finds_three_units_and_adds_them_without_a_command_line(
    page: Page, demo, gateway, picture: TakePicture
):
    page.goto(demo)
    page.get_by_role("link", name="Add meters").first.click()
    field_of(page, "Gateway").fill(gateway.host)
    field_of(page, "Port").fill(str(gateway.port))
    field_of(page, "Units").fill("1-4")
    page.get_by_role("button", name="Scan").click()
    expect(page.get_by_role("button", name="Add the chosen units")).to_be_visible()
    expect(page.get_by_text("3 of 4 units answer")).to_be_visible()
    expect(page.get_by_label("Type of unit 1")).to_have_value("sdm630")
    expect(page.locator("#values-1")).to_contain_text("230 V")
    for unit, name in {1: "main distribution", 2: "heat pump", 3: "bakery"}.items():
        page.get_by_label(f"Name of unit {unit}").fill(name)
    picture("web_scan")
    assert barriers(page) == []
    page.get_by_role("button", name="Add the chosen units").click()
    expect(page.get_by_role("link", name="bakery")).to_be_visible()


def test_within_two_minutes_the_overview_shows_their_values_by_itself(page: Page, demo, picture: TakePicture):
    for name in ("main distribution", "heat pump", "bakery"):
        row = page.get_by_role("row").filter(has=page.get_by_role("link", name=name))
        expect(row.get_by_text("ok", exact=True)).to_be_visible(timeout=130_000)
        expect(row.get_by_text("3.46 kW")).to_be_visible()
        expect(row.get_by_text("12\u202f345.5 kWh")).to_be_visible()
    picture("web_overview")


def test_the_overview_is_searched_while_typing_and_the_address_can_be_kept(page: Page, demo):
    page.get_by_role("searchbox", name="Search").fill("heat")
    expect(page.get_by_role("link", name="bakery")).to_have_count(0)
    expect(page.get_by_role("link", name="heat pump")).to_be_visible()
    assert "q=heat" in page.url
    page.reload()
    expect(page.get_by_role("link", name="bakery")).to_have_count(0)
    page.get_by_role("searchbox", name="Search").fill("")
    expect(page.get_by_role("link", name="bakery")).to_be_visible()


def test_a_meters_page_shows_values_a_chart_and_its_registers(page: Page, demo, picture: TakePicture):
    page.goto(demo)
    page.get_by_role("link", name="bakery").click()
    expect(page.get_by_role("heading", name="bakery")).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("voltageL1 .*230"))).to_be_visible()
    expect(page.locator("#chart canvas")).to_be_visible()
    expect(page.locator("#chart-text")).to_contain_text("last 3,456 W")
    expect(page.get_by_text("None in the last 7 days.")).to_be_visible()
    picture("web_meter")
    page.get_by_role("button", name="Read registers").click()
    expect(page.locator("#registers")).to_contain_text("registers read")
    assert barriers(page) == []


def test_a_meter_is_polled_now_through_dagster(page: Page, demo):
    page.get_by_role("button", name="Poll now").click()
    run = page.get_by_role("link", name=re.compile(r"run \w{8} in Dagster"))
    expect(run).to_be_visible()
    parts = urlsplit(run.get_attribute("href"))
    ui = DagsterUI(f"{parts.scheme}://{parts.netloc}")
    assert ui.wait_for_run(parts.path.rsplit("/", 1)[1])["status"] == "SUCCESS"


def test_a_meter_is_disabled_and_enabled(page: Page, demo):
    page.get_by_role("button", name="Disable").click()
    expect(page.locator("#values").get_by_text("disabled")).to_be_visible()
    page.get_by_role("button", name="Enable").click()
    expect(page.get_by_role("button", name="Disable")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_a_serious_barrier_and_none_is_wider_than_a_phone(page: Page, demo, scheme, picture: TakePicture):
    page.emulate_media(color_scheme=scheme)
    size = page.viewport_size
    for path in PAGES:
        page.goto(demo + path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert barriers(page) == [], path
        page.set_viewport_size({"width": 360, "height": 740})
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
        if path == "/" and scheme == "dark":
            picture("web_phone")
        page.set_viewport_size(size)
    page.emulate_media(color_scheme="light")


def test_the_page_can_be_used_with_the_keyboard_alone(page: Page, demo):
    page.goto(demo)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("searchbox", name="Search")).to_be_focused()
    link = page.get_by_role("link", name="bakery")
    link.focus()
    page.evaluate("htmx.ajax('GET', '/meters', {target: '#meters', swap: 'innerHTML'})")
    page.wait_for_timeout(700)
    expect(link).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="bakery")).to_be_visible()
