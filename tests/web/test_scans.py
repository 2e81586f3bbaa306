"""Scans from the page and from the API: progress as server-sent events, cancelling, and adding what was found."""

import json

import pytest
from support.catalogue_devices import SITUATIONS, device
from support.dagster_ui import wait_for
from support.meters import SimulatedGateway, SimulatedUnit, encode_registers

from emm_pipeline.catalog import load_catalogue

SDM630 = load_catalogue()["sdm630"].meter_type
HOUSE = {each.measurement_name: SITUATIONS[0].value(each.measurement_name) for each in SDM630.measured}


@pytest.fixture(scope="module")
def gateway(simulator_loop):
    registers = encode_registers(SDM630, HOUSE)
    other = {name: value * 2 if "Energy" in name else value for name, value in HOUSE.items()}
    swapped = device(load_catalogue()["sdm630"], SITUATIONS[0], swap_words=True)
    units = {
        1: SimulatedUnit(registers),
        3: SimulatedUnit(encode_registers(SDM630, other)),
        5: SimulatedUnit(lambda code, address: swapped.get((code, address)) or 0),
    }
    with SimulatedGateway(units, loop=simulator_loop) as gateway:
        yield gateway


@pytest.fixture
def browser(local_web):
    local_web.sql("DELETE FROM energy_meters")
    return local_web.browser()


def fields(gateway, units: str, **more: str) -> dict[str, str]:
    return {"host": gateway.host, "port": str(gateway.port), "units": units, "transport": "tcp"} | more


def events_of(text: str) -> list[tuple[str, str]]:
    parts = [part.split("\n") for part in text.strip().split("\n\n") if part.startswith("event:")]
    return [(part[0].removeprefix("event: "), part[1].removeprefix("data: ")) for part in parts]


def test_units_are_found_shown_and_added(local_web, browser, gateway):
    place = browser.submit("/scans", fields(gateway, "1,3")).headers["location"]
    events = events_of(browser.get(f"{place}/events").text)
    assert events[-1] == ("end", "done")
    last = json.loads(events[-2][1])
    assert (last["asked"], last["total"], last["status"]) == (2, 2, "done")
    assert [unit["unit"] for unit in last["units"]] == [1, 3]
    assert all("sdm630" in {each["type"] for each in unit["candidates"]} for unit in last["units"])
    page = browser.get(place).text
    assert "2 of 2 units answer" in page
    values = browser.get(f"{place}/values?unit=3&type-3=sdm630").text
    assert "voltageL1 231.4 V" in values
    chosen = [("unit", "1"), ("type-1", "sdm630"), ("name-1", "bakery"), ("unit", "99"), ("type-99", "sdm630")]
    assert browser.submit(f"{place}/add", chosen).status == 303
    with local_web.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT port, slave_address, type, description FROM energy_meters").all()
    assert [tuple(row) for row in rows] == [(gateway.port, 1, "sdm630", "bakery")], "unit 99 was not found"
    assert "bakery" in browser.get(place).text, "the unit is known now"
    assert browser.submit(f"{place}/add").status == 422


def test_units_are_added_together_or_not_at_all(local_web, browser, gateway):
    place = browser.submit("/scans", fields(gateway, "1,3", host=f"{gateway.host}:{gateway.port}", port="502")).headers[
        "location"
    ]
    assert events_of(browser.get(f"{place}/events").text)[-1] == ("end", "done"), "the port may be beside the host"
    chosen = [("unit", "1"), ("type-1", "sdm630"), ("unit", "3"), ("type-3", "no_such_type")]
    refused = browser.submit(f"{place}/add", chosen)
    assert refused.status == 422
    assert "unit 3: there is no type &#39;no_such_type&#39;" in refused.text
    with local_web.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM energy_meters").scalar() == 0


def test_a_variant_of_a_type_with_other_orders_is_installed_and_added(local_web, browser, gateway):
    place = browser.submit("/scans", fields(gateway, "5")).headers["location"]
    assert events_of(browser.get(f"{place}/events").text)[-1] == ("end", "done")
    chosen = [("unit", "5"), ("type-5", "sdm630_swapped_words")]
    assert browser.submit(f"{place}/add", chosen).status == 303
    with local_web.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT slave_address, type FROM energy_meters").all()
    assert [tuple(row) for row in rows] == [(5, "sdm630_swapped_words")]


def test_a_program_scans_and_cancels(local_web, gateway):
    program = local_web.browser()
    body = json.dumps({"host": gateway.host, "port": gateway.port, "units": "10-60", "transport": "tcp"})
    started = program.ask("POST", "/api/scans", body, content_type="application/json")
    assert started.status == 202
    path = f"/api/scans/{started.json['id']}"
    again = program.ask("POST", "/api/scans", body, content_type="application/json")
    assert (again.status, "already running" in again.json["error"]) == (400, True)
    assert program.ask("DELETE", path, "{}", content_type="application/json").status == 202
    wait_for("the end of the scan", lambda: program.get(path).json["status"] == "cancelled")
    assert events_of(program.get(f"{path}/events").text)[-1] == ("end", "cancelled")


def test_a_gateway_that_cannot_be_reached_is_an_error_with_what_to_do(browser, gateway):
    place = browser.submit("/scans", fields(gateway, "1", port="1")).headers["location"]
    assert events_of(browser.get(f"{place}/events").text)[-1] == ("end", "failed")
    assert "refused" in browser.get(place).text


@pytest.mark.parametrize(
    "more", [{"units": "0-300"}, {"units": ""}, {"port": "0"}, {"host": "a b"}, {"host": "/dev/x"}]
)
def test_wrong_input_starts_no_scan(browser, gateway, more):
    assert browser.submit("/scans", fields(gateway, "1") | more).status == 422


def test_at_most_three_scans_run_at_once(local_web, browser, simulator_loop):
    started = []
    gateways = [SimulatedGateway({}, loop=simulator_loop) for _ in range(4)]
    for gateway in gateways:
        gateway.__enter__()
        started.append(browser.submit("/scans", fields(gateway, "1-200")).status)
    local_web.site.scans.cancel_all()
    for gateway in gateways:
        gateway.stop()
    assert started == [303, 303, 303, 422]
