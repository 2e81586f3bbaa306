"""The page of the real demo in a real browser: a newcomer adds meters, then uses their pages. Each test continues."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Locator, Page, expect
from support.accessibility import PHONE
from support.browser import TakePicture
from support.catalogue_devices import SITUATIONS
from support.dagster_ui import DagsterUI, wait_for
from support.day_of_readings import put_day
from support.demo import locks_in, processes_of
from support.meters import SimulatedGateway, SimulatedUnit, encode_registers
from support.ports import free_port
from support.postgres import postgres_folder

from emm_pipeline.catalog import load_catalogue
from emm_pipeline.cli.demo.processes import answers
from emm_pipeline.settings import load_settings

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(600), pytest.mark.usefixtures("no_messages")]

SHOWN = {"width": 1100, "height": 720}
"""The size of the pictures."""
DEVICE_FAILURE = 4
MOST_CLICKS = 10
FIRST_VALUES_MS = 180_000
"""Two polls, and a busy machine."""
TYPES = {1: "sdm630", 2: "sdm120", 3: "sdm630"}
NAMES = {1: "main distribution", 2: "heat pump", 3: "bakery"}


class Demo(NamedTuple):
    """A running demo: the address of the page, Dagster, the folder of its data, its process and its output."""

    url: str
    ui: DagsterUI
    data_dir: Path
    process: subprocess.Popen[bytes]
    output: Path


class Newcomer:
    """Uses a page as a person does, and counts the clicks."""

    def __init__(self) -> None:
        self.clicks = 0
        self.began = time.monotonic()

    def click(self, what: Locator) -> None:
        self.clicks += 1
        what.click()

    def enter(self, text: str, field: Locator) -> None:
        """Click into a field, and type."""
        self.click(field)
        field.fill(text)

    @property
    def seconds(self) -> int:
        return round(time.monotonic() - self.began)


@pytest.fixture(scope="module")
def gateway(simulator_loop) -> Iterator[SimulatedGateway]:
    units = {}
    for unit, type_ in TYPES.items():
        meter_type = load_catalogue()[type_].meter_type
        situation = replace(SITUATIONS[0], amperes=(4.25 / unit, 1.37, 9.75 / unit), counters=1 / unit)
        values = {each.measurement_name: situation.value(each.measurement_name) for each in meter_type.measured}
        units[unit] = SimulatedUnit(encode_registers(meter_type, values))
    with SimulatedGateway(units, loop=simulator_loop) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    emm = Path(sys.executable).with_name("emm")
    port, web_port = free_port(), free_port()
    with postgres_folder() as folder:
        command = [emm, "demo", "--data-dir", folder / "demo", "--port", str(port), "--web-port", str(web_port)]
        with (folder / "output").open("w") as output:
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            url = f"http://127.0.0.1:{web_port}"
            wait_for("the page", lambda: process.poll() is not None or answers(f"{url}/healthz"), 120)
            ui = DagsterUI(f"http://127.0.0.1:{port}")
            wait_for("Dagster", lambda: process.poll() is not None or answers(f"{ui.url}/server_info"), 120)
            yield Demo(url, ui, folder / "demo", process, folder / "output")
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


def row_of(page: Page, name: str) -> Locator:
    """A meter's row of the overview."""
    return page.get_by_role("row").filter(has=page.get_by_role("link", name=name, exact=True))


def open_meter(page: Page, demo: Demo, name: str) -> None:
    page.goto(demo.url)
    page.get_by_role("link", name=name, exact=True).click()
    expect(page.get_by_role("heading", name=name, level=1)).to_be_visible()


def test_the_overview_shows_the_demos_meter(page: Page, demo):
    page.set_viewport_size(SHOWN)
    page.goto(demo.url)
    expect(row_of(page, "test_energy_meter").get_by_text("ok", exact=True)).to_be_visible()


def test_a_newcomer_adds_the_units_of_a_gateway_with_few_clicks_and_sees_their_values(
    page: Page, demo, gateway, picture: TakePicture, record_property
):
    person = Newcomer()
    person.click(page.get_by_role("link", name="Add meters"))
    person.enter(f"{gateway.host}:{gateway.port}", page.get_by_label("Gateway, name or address"))
    person.click(page.get_by_role("button", name="Scan"))
    for unit, type_ in TYPES.items():
        row = page.get_by_role("row").filter(has=page.get_by_role("checkbox", name=str(unit), exact=True))
        expect(row.get_by_role("combobox")).to_have_value(type_)
        expect(row.get_by_text(re.compile("voltage(L1)? 231.4 V"))).to_be_visible()
    picture("web_scan")
    for unit, name in NAMES.items():
        person.enter(name, page.get_by_role("textbox", name=f"Name of unit {unit}"))
    person.click(page.get_by_role("button", name="Add the chosen units"))
    expect(page.get_by_text("3 meters added")).to_be_visible()
    for name in NAMES.values():
        expect(row_of(page, name).get_by_text(re.compile(r"\d W$|kW$"))).to_be_visible(timeout=FIRST_VALUES_MS)
    person.click(page.get_by_role("link", name="main distribution"))
    expect(page.get_by_role("row", name=re.compile("^voltageL1 231.4 V"))).to_be_visible()
    record_property("clicks", person.clicks)
    record_property("seconds", person.seconds)
    print(f"{person.clicks} clicks, {person.seconds} s")
    assert person.clicks <= MOST_CLICKS


def test_the_addition_started_a_discovery_instead_of_waiting_for_the_next(demo):
    runs = [run for run in demo.ui.runs() if run["jobName"] == "discovery"]
    started = [run for run in runs if {"key": "started_by", "value": "this machine"} in run["tags"]]
    assert started
    assert demo.ui.partitions()["all"] >= {"1", "2", "3"}


def poll_now(page: Page, demo: Demo, name: str) -> dict[str, str]:
    """Press the button on a meter's page, and wait for the run in Dagster; return its status and tags."""
    open_meter(page, demo, name)
    page.get_by_role("button", name="Poll now").click()
    address = str(page.get_by_role("link", name=re.compile("run .* in Dagster")).get_attribute("href"))
    assert address.startswith(f"{demo.ui.url}/runs/")
    run = demo.ui.wait_for_run(address.rsplit("/", 1)[1])
    return {"job": run["jobName"], "status": run["status"]} | {tag["key"]: tag["value"] for tag in run["tags"]}


def test_a_meter_is_polled_at_once_and_the_run_is_in_dagsters_history(page: Page, demo):
    run = poll_now(page, demo, "heat pump")
    assert (run["job"], run["status"]) == ("poll", "SUCCESS")
    assert (run["dagster/partition"], run["started_by"]) == ("2", "this machine")


def test_a_failing_meter_comes_first_with_the_reason_and_what_to_do(page: Page, demo, gateway, picture: TakePicture):
    put_day(load_settings(demo.data_dir / "demo.env"), {1: 3466.0, 2: 1872.0, 3: 1340.0})
    gateway.units[2].exception = DEVICE_FAILURE
    poll_now(page, demo, "heat pump")
    page.goto(demo.url)
    first = page.locator("#meters tbody tr").first
    expect(first).to_contain_text("heat pump")
    expect(first).to_contain_text("device failure")
    expect(first.locator(".remedy")).to_be_visible()
    for name in NAMES.values():
        expect(row_of(page, name).get_by_role("img", name="Power in the last hour")).to_be_visible()
    picture("web_overview")
    gateway.units[2].exception = None
    poll_now(page, demo, "heat pump")
    expect(page.get_by_text("ok", exact=True)).to_be_visible()


def test_the_meters_page_draws_a_day_from_the_store(page: Page, demo, picture: TakePicture):
    open_meter(page, demo, "main distribution")
    expect(page.locator("#chart canvas")).to_be_visible()
    expect(page.locator("#chart-text")).to_contain_text(re.compile(r"^activePower: lowest \d.* W, highest \d.* W"))
    picture("web_meter")
    page.set_viewport_size(PHONE)
    page.emulate_media(color_scheme="dark")
    expect(page.locator("#chart canvas")).to_be_visible()
    picture("web_phone")
    page.set_viewport_size(SHOWN)
    page.emulate_media(color_scheme="light")


def test_a_disabled_meter_is_not_polled_and_an_enabled_one_is_polled_again(page: Page, demo):
    open_meter(page, demo, "bakery")
    page.get_by_role("button", name="Disable").click()
    expect(page.get_by_text("disabled", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Poll now")).to_have_count(0)
    wait_for("the partition to disappear", lambda: "3" not in demo.ui.partitions()["all"], 150)
    page.get_by_role("button", name="Enable").click()
    expect(page.get_by_role("button", name="Disable")).to_be_visible()
    wait_for("the partition", lambda: "3" in demo.ui.partitions()["all"], 150)
    assert poll_now(page, demo, "bakery")["status"] == "SUCCESS"
    expect(page.get_by_text("ok", exact=True)).to_be_visible()


def test_a_meter_is_renamed_and_the_change_is_logged(page: Page, demo):
    open_meter(page, demo, "bakery")
    page.get_by_role("link", name="Edit").click()
    page.get_by_label("Name", exact=True).fill("bakery, oven")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="bakery, oven", level=1)).to_be_visible()
    page.get_by_role("link", name="Changes").click()
    expect(page.get_by_role("row").filter(has_text="edit meter 3").first).to_contain_text('"bakery, oven"')


def test_ctrl_c_ends_every_process_and_leaves_no_lock(page: Page, demo):
    page.goto("about:blank")  # the page that is open would report that it cannot load its parts any more
    assert len(processes_of(demo.data_dir)) > 4
    demo.process.send_signal(signal.SIGINT)
    demo.process.wait(60)
    printed = demo.output.read_text()
    assert demo.process.returncode == 0, printed
    places = [
        re.search(pattern, printed) for pattern in (demo.url, "test_measurement", r"\d\d:\d\d:\d\d .*4 meters read")
    ]
    assert all(places), printed
    starts = [place.start() for place in places if place]
    assert starts == sorted(starts), "the page's address, then the table of the first poll, then a line for each poll"
    assert not processes_of(demo.data_dir)
    assert locks_in(demo.data_dir) == []
