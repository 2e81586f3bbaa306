"""Dagster's UI in a real browser: an operator's steps when a meter fails, and a malicious page that is open meanwhile.

Each test continues the previous one.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Locator, Page, expect
from sqlalchemy import text
from support.browser import TakePicture
from support.dagster_ui import wait_for
from support.foreign_page import foreign_page
from support.meters import SimulatedGateway, SimulatedUnit, SimulatorLoop, encode_value, inputs
from support.postgres import postgres_folder
from support.stack import Stack

from emm_pipeline.fleet import DataType

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(240)]

DEVICE_FAILURE = 4
NAMES = {1: "mains", 2: "heat pump", 3: "solar", 4: "bakery", 5: "barn", 6: "shop"}
BROKEN = [2, 5]
FOUR_HOURS = """
    INSERT INTO readings
    SELECT date_trunc('day', now(), 'UTC') - interval '20 hours' + minute * interval '1 minute',
        1, 'mains', 'importActiveEnergy', 'kWh', CASE minute WHEN 100 THEN 0 ELSE 1000 + minute / 60.0 END
    FROM generate_series(0, 240) AS minute
"""
"""Readings of a meter yesterday, with 1 kW. One value is wrong."""


def registers() -> dict[tuple[int, int], int]:
    words: dict[tuple[int, int], int] = {(4, address): 0 for address in range(80)}
    for address, value in {0: 230.25, 2: 231.5, 52: 1234.0}.items():
        words |= inputs(address, encode_value(value, DataType.FLOAT))
    return words


@pytest.fixture(scope="module")
def gateways(simulator_loop: SimulatorLoop) -> Iterator[dict[int, SimulatedGateway]]:
    gateways = {id_: SimulatedGateway({1: SimulatedUnit(registers())}, loop=simulator_loop) for id_ in NAMES}
    for gateway in gateways.values():
        gateway.__enter__()
    yield gateways
    for gateway in gateways.values():
        gateway.stop()


@pytest.fixture(scope="module")
def stack(gateways) -> Iterator[Stack]:
    # Readings are stored in PostgreSQL: the pages are the same with either store.
    environment = {
        "READINGS_STORE": "postgresql",
        "TZ": "UTC",
        "INFLUX_UPDATER_CRON_SECOND_TRIGGER": "0",
        "GRAFANA_URL": "http://localhost:3000",
    }
    with postgres_folder() as folder, Stack(folder, environment) as stack:
        for id_, gateway in gateways.items():
            stack.add_meter(id_, gateway.port, description=NAMES[id_])
        yield stack


@pytest.fixture(autouse=True)
def leave(page: Page) -> Iterator[None]:
    """Leave Dagster's page at the end of a test: it would draw each run of the next one."""
    yield
    page.goto("about:blank")


def break_meters(gateways: dict[int, SimulatedGateway], *, broken: bool) -> None:
    for id_ in BROKEN:
        gateways[id_].units[1].exception = DEVICE_FAILURE if broken else 0


def switch(page: Page) -> Locator:
    """The switch on a schedule's page: a checkbox that its label covers."""
    return page.get_by_role("row", name="Running")


def show_partitions(page: Page, stack: Stack) -> None:
    page.goto(f"{stack.ui.url}/assets/meter_readings?view=partitions")


def test_a_schedule_is_switched_off(page: Page, stack, picture: TakePicture):
    page.goto(f"{stack.ui.url}/automation")
    expect(page.get_by_role("link", name=re.compile("poll_schedule"))).to_be_visible()
    picture("schedules")
    page.goto(f"{stack.ui.url}/locations/emm/schedules/poll_schedule")
    expect(switch(page).get_by_role("checkbox")).to_be_checked()
    switch(page).locator("label").click()
    wait_for("the schedule to stop", lambda: stack.ui.schedules()["poll_schedule"] == "STOPPED")
    expect(switch(page).get_by_role("checkbox")).not_to_be_checked()


def test_a_discovery_reports_its_result(page: Page, stack):
    run = stack.ui.launch("discovery")
    stack.ui.wait_for_run(run)
    page.goto(f"{stack.ui.url}/runs/{run}?logs=type:STEP_OUTPUT")
    expect(page.get_by_text("discover", exact=True).first).to_be_visible()
    assert stack.ui.partitions()["all"] == {str(id_) for id_ in NAMES}


def test_the_lineage_shows_where_the_configuration_comes_from(page: Page, stack, picture: TakePicture):
    page.goto(f"{stack.ui.url}/assets/meter_readings?view=lineage")
    for name in ("energy_meters", "registers"):
        expect(page.get_by_text(name).first).to_be_visible()
    picture("lineage")


def test_the_asset_page_shows_which_meters_failed(page: Page, stack, gateways, picture: TakePicture):
    assert stack.ui.wait_for_run(stack.ui.launch("poll"))["status"] == "SUCCESS"
    break_meters(gateways, broken=True)
    stack.ui.wait_for_run(stack.ui.launch("poll"))
    show_partitions(page, stack)
    expect(page.get_by_text(f"Failed ({len(BROKEN)})")).to_be_visible()
    expect(page.get_by_text(f"Materialized ({len(NAMES) - len(BROKEN)})")).to_be_visible()
    picture("meters")


def test_the_page_of_a_failing_meter_says_what_it_is_why_it_fails_and_since_when(page: Page, stack, gateways, picture):
    page.goto(f"{stack.ui.url}/assets/meter_readings?view=partitions&partition=2")
    expect(page.get_by_text("heat pump").first).to_be_visible()
    expect(page.get_by_text("failing since").first).to_be_visible()
    expect(page.get_by_text(re.compile("device failure")).first).to_be_visible()
    expect(page.get_by_text(f"127.0.0.1:{gateways[2].port} unit 1").first).to_be_visible()
    for shown in ("next attempt", "last values", "values over time"):
        expect(page.get_by_text(shown, exact=True).first).to_be_visible()
    expect(page.get_by_text(re.compile("activePower 1234")).first).to_be_visible()
    dashboard = page.locator('a[href*="emm-meter"]').first
    expect(dashboard).to_have_attribute("href", "http://localhost:3000/d/emm-meter?var-meter=heat%20pump")
    picture("failing_meter")


def test_the_checks_name_the_offenders(page: Page, stack, picture: TakePicture):
    page.goto(f"{stack.ui.url}/assets/meter_readings?view=checks")
    for name in ("all_meters_read", "all_registers_delivered", "values_plausible", "outbox_empty"):
        expect(page.get_by_text(name, exact=True).first).to_be_visible()
    page.get_by_text("all_meters_read", exact=True).first.click()
    expect(page.get_by_text("2 meters that fail").first).to_be_visible()
    picture("checks")


def test_the_failed_run_is_executed_again_from_asset_failure(page: Page, stack):
    failed = stack.ui.runs(statuses=["FAILURE"], pipelineName="poll")[0]["runId"]
    page.goto(f"{stack.ui.url}/runs/{failed}")
    page.get_by_role("button", name="arrow_drop_down").click()
    page.get_by_role("menuitem", name=re.compile("From asset failure")).click()
    again = wait_for("the re-execution", lambda: [r for r in stack.ui.runs() if r["parentRunId"] == failed])[0]
    assert stack.ui.wait_for_run(again["runId"])["status"] == "FAILURE", "the meters fail still"
    assert "2 of 2 meters failed" in stack.ui.failure(again["runId"])


def test_the_runs_list_shows_no_tags_of_emm(page: Page, stack):
    assert not [tag for run in stack.ui.runs() for tag in run["tags"] if "emm" in tag["key"]]


def test_the_page_of_the_job_says_where_the_output_of_its_processes_is(page: Page, stack):
    page.goto(f"{stack.ui.url}/locations/emm/jobs/poll")
    expect(page.get_by_text(re.compile("log of the code server")).first).to_be_visible()


def test_the_failed_run_names_the_meters_and_is_re_executed_from_failure(page: Page, stack, gateways, picture):
    page.goto(f"{stack.ui.url}/runs")
    page.get_by_role("tab", name="Failed").click()
    page.get_by_role("link", name=re.compile(r"^run \w{8}")).first.click()
    expect(page.get_by_text(re.compile(r"meter 2 \(heat pump\)")).first).to_be_visible()
    expect(page.get_by_text("Stack Trace")).to_have_count(0)
    failed = page.url.rsplit("/", 1)[1].split("?")[0]
    page.goto(f"{stack.ui.url}/runs/{failed}?logs=type:ASSET_OBSERVATION")
    expect(page.get_by_text("meters failed")).to_be_visible()
    picture("failed_run")

    break_meters(gateways, broken=False)
    page.get_by_role("button", name="arrow_drop_down").click()
    page.get_by_role("menuitem", name=re.compile("From failure")).click()
    again = wait_for("the re-execution", lambda: [r for r in stack.ui.runs() if r["parentRunId"] == failed])[0]
    assert stack.ui.wait_for_run(again["runId"])["status"] == "SUCCESS"


def test_the_meters_have_recovered(page: Page, stack):
    show_partitions(page, stack)
    expect(page.get_by_text("Failed (0)")).to_be_visible()
    expect(page.get_by_text(f"Materialized ({len(NAMES)})")).to_be_visible()
    page.goto(f"{stack.ui.url}/assets/meter_readings?view=partitions&partition=2")
    expect(page.get_by_text("heat pump").first).to_be_visible()
    expect(page.get_by_text("did not materialize")).to_have_count(0)


def test_a_backfill_of_energies_is_launched_from_the_page(page: Page, stack, picture: TakePicture):
    stack.sql(FOUR_HOURS)
    page.goto(f"{stack.ui.url}/assets/energy_monthly?view=lineage&lineageScope=upstream&lineageDepth=4")
    for name in ("energy_meters", "meter_readings", "energy_hourly", "energy_daily", "energy_monthly"):
        expect(page.get_by_text(name, exact=True).first).to_be_visible()
    for _ in range(7):
        page.get_by_role("button", name="zoom_out").click()
    picture("energy_lineage")

    earlier = stack.ui.backfills()
    page.goto(f"{stack.ui.url}/assets/energy_hourly?view=partitions")
    page.get_by_role("button", name=re.compile("Materialize…")).click()
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    partitions = page.get_by_role("dialog").get_by_role("textbox").first
    partitions.fill(f"[{yesterday}-00:00...{yesterday}-23:00]")
    partitions.press("Enter")
    expect(page.get_by_text("24 partitions")).to_be_visible()
    picture("energy_backfill")
    page.get_by_role("button", name="Launch backfill").click()
    wait_for("the backfill", lambda: stack.ui.backfills() != earlier)


def test_a_backfill_of_the_failed_partitions_goes_through(page: Page, stack, gateways, picture: TakePicture):
    break_meters(gateways, broken=True)
    stack.ui.wait_for_run(stack.ui.launch("poll"))
    break_meters(gateways, broken=False)
    show_partitions(page, stack)
    page.get_by_role("button", name=re.compile("Materialize…")).click()
    page.get_by_role("button", name="Failed", exact=True).click()
    picture("backfill_dialog")
    page.get_by_role("button", name="Launch backfill").click()
    page.goto(f"{stack.ui.url}/runs")
    page.get_by_role("tab", name="Backfills").click()
    page.locator('a[href^="/runs/b/"]').first.click()
    address = page.url
    page.goto("about:blank")  # the wait takes most of a minute
    backfill_id = address.rsplit("/", 1)[1].split("?")[0]
    assert stack.ui.wait_for_backfill(backfill_id).startswith("COMPLETED")
    page.goto(address)
    expect(page.get_by_text("100% completed")).to_be_visible()
    assert stack.ui.partitions()["failed"] == set()


def test_the_schedule_is_switched_on_again(page: Page, stack):
    page.goto(f"{stack.ui.url}/locations/emm/schedules/poll_schedule")
    switch(page).locator("label").click()
    wait_for("the schedule to run", lambda: stack.ui.schedules()["poll_schedule"] == "RUNNING")


def test_the_checks_of_energies_name_the_intervals(page: Page, stack, picture: TakePicture):
    # launched above: the daemon looks each half minute, and the backfill of the meters has waited for that
    assert {stack.ui.wait_for_backfill(each) for each in stack.ui.backfills()} == {"COMPLETED_SUCCESS"}
    page.goto(f"{stack.ui.url}/assets/energy_hourly?view=checks")
    for name in ("coverage", "counters_rise", "power_within_limit"):
        expect(page.get_by_text(name, exact=True).first).to_be_visible()
    page.get_by_text("counters_rise", exact=True).first.click()
    expect(page.get_by_text(re.compile("1 interval of")).first).to_be_visible()
    picture("energy_checks")
    with stack.engine.connect() as connection:
        assert connection.scalar(text("SELECT sum(energy) FROM emm_energy WHERE period = 'hour'")) == pytest.approx(4)


def written_from_outside(stack: Stack) -> list[dict[str, str]]:
    """Return the events of the asset that belong to no run."""
    found = stack.ui.ask(
        """{ assetOrError(assetKey: {path: ["meter_readings"]}) { ... on Asset {
               assetMaterializations(limit: 100) { runId timestamp } assetObservations(limit: 100) { runId timestamp }
           } } }"""
    )["assetOrError"]
    events = [*found["assetMaterializations"], *found["assetObservations"]]
    assert events
    return [event for event in events if not event["runId"]]


def test_a_page_of_another_origin_can_neither_stop_polling_nor_write_events_nor_read(page: Page, stack):
    """A malicious page on the machine where Dagster runs; Dagster has no login here."""
    state = stack.ui.ask(
        """{ schedulesOrError(repositorySelector: {repositoryName: "__repository__", repositoryLocationName: "emm"}) {
               ... on Schedules { results { name scheduleState { id } } } } }"""
    )["schedulesOrError"]["results"]
    (id_,) = [one["scheduleState"]["id"] for one in state if one["name"] == "poll_schedule"]
    assert stack.ui.schedules()["poll_schedule"] == "RUNNING"
    with foreign_page(stack.ui.url, id_) as address:
        page.goto(address)
        page.wait_for_function("document.title.startsWith('done')")
        framed = [frame.title() for frame in page.frames[1:] if "Dagster" in frame.title()]
        assert page.title() == "done", "what the page could read or open"
    assert framed == []
    assert stack.ui.schedules()["poll_schedule"] == "RUNNING"
    assert written_from_outside(stack) == []


def test_dagsters_own_pages_work_in_the_same_browser_the_live_connection_too(page: Page, stack):
    page.goto(f"{stack.ui.url}/runs")
    page.get_by_text("Runs").first.wait_for()
    opened = page.evaluate(
        """() => new Promise(resolve => {
             const socket = new WebSocket(location.origin.replace('http', 'ws') + '/graphql', 'graphql-ws');
             socket.onopen = () => resolve(true); socket.onerror = () => resolve(false); })"""
    )
    assert opened
