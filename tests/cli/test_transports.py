"""Commands over each transport: what a person types for a converter, a UDP gateway and a serial line."""

import json

import pytest
from support.catalogue_devices import SITUATIONS, device
from support.lines import SerialLine, UdpGateway
from support.meters import SimulatedUnit

from emm_pipeline.catalog import load_catalogue

WORDS = {(4, address): 0 for address in range(400)} | device(load_catalogue()["sdm630"], SITUATIONS[0])


def words(function_code, address):
    return WORDS.get((function_code, address))


@pytest.fixture(params=["rtu", "udp", "serial"])
def line(request, simulated_gateway):
    """Where unit 3 is an SDM630: the place to type, the options, and how messages name it."""
    if request.param == "rtu":
        gateway = simulated_gateway({3: SimulatedUnit(WORDS)}, rtu=True, missing_unit_exception=None)
        place = f"{gateway.host}:{gateway.port}"
        yield place, ("--transport", "rtu"), f"rtu {place}"
    elif request.param == "udp":
        with UdpGateway({3: words}) as gateway:
            place = f"{gateway.host}:{gateway.port}"
            yield place, ("--transport", "udp"), f"udp {place}"
    else:
        with SerialLine({3: words}) as serial:
            yield serial.path, ("--serial", "9600 8N1"), f"serial {serial.path}"


def test_a_meter_is_found_added_checked_polled_and_watched(emm, line):
    place, options, name = line
    found = emm("scan", place, *options, "--units", "2-3", "--timeout", 0.3, "--pause", 0, "--json")
    assert found.returncode == 0, found.stderr
    [unit] = json.loads(found.stdout)["units"]
    assert (unit["unit"], unit["candidates"][0]["type"]) == (3, "sdm630")
    assert emm("types", "install", "sdm630").returncode == 0
    added = emm("meters", "add", "--no-test", place, *options, "--unit", 3, "--type", "sdm630")
    assert added.returncode == 0, added.stderr
    assert f"at {name} unit 3" in added.stdout
    assert "OK" in emm("meters", "check", 1).stdout
    polled = json.loads(emm("poll", "--json").stdout)
    values = {each["measurement"]: each["value"] for each in polled["readings"]}
    assert (values["voltageL1"], polled["failed"]) == (pytest.approx(231.4), [])
    watched = emm("watch", 1, "--count", 1, "--json")
    assert json.loads(watched.stdout)["values"]["frequency"] == pytest.approx(50.02)
    assert place in emm("meters", "list").stdout


def test_registers_are_read_and_checked_without_a_database(emm_alone, line):
    place, options, name = line
    read = emm_alone("read", place, *options, "--unit", 3, "--fc", 4, "--expect", "231.4")
    assert "voltage" in read.stdout or "231.4" in read.stdout
    assert read.returncode == 0, read.stderr
    checked = emm_alone("meters", "check", "--host", place, *options, "--unit", 3, "--type", "sdm630")
    assert f"connected to {name}" in checked.stdout
    assert checked.returncode == 0, checked.stdout


def test_a_scan_finds_out_that_a_converter_passes_on_rtu_frames_and_prints_the_line_to_add_the_meter(
    emm_alone, simulated_gateway
):
    gateway = simulated_gateway({3: SimulatedUnit(WORDS)}, rtu=True, missing_unit_exception=None)
    result = emm_alone("scan", f"{gateway.host}:{gateway.port}", "--units", "3", "--timeout", 0.2)
    assert result.returncode == 0, result.stderr
    assert f"1 of 1 units answer over rtu {gateway.host}:{gateway.port}" in result.stdout
    assert f"emm meters add {gateway.host}:{gateway.port} --unit 3 --transport rtu --type sdm630" in result.stdout


def test_a_meter_is_moved_to_a_serial_line_with_one_option(emm):
    emm("types", "install", "sdm630")
    emm("meters", "add", "--no-test", "10.0.0.5", "--unit", 3, "--type", "sdm630")
    edited = emm("meters", "edit", 1, "--host", "/dev/ttyUSB7", "--serial", "19200 8e1", "--json")
    assert edited.returncode == 0, edited.stderr
    after = json.loads(edited.stdout)[0]["after"]
    assert (after["host"], after["port"], after["transport"]) == ("/dev/ttyUSB7", 1, "serial")
    assert after["serial_settings"] == "19200 8E1"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("/dev/ttyUSB7", "--transport", "tcp"), "does not go with transport tcp"),
        (("10.0.0.5", "--transport", "serial"), "does not go with transport serial"),
        (("10.0.0.5", "--serial", "9600 8N1"), "serial settings go with the path of a serial line"),
        (("/dev/ttyUSB7", "--serial", "9600"), "such as 9600 8N1"),
    ],
)
def test_options_that_do_not_go_together_are_refused(emm_alone, arguments, reason):
    result = emm_alone("read", *arguments)
    assert result.returncode == 2
    assert reason in result.stderr


def test_a_device_that_needs_a_pause_after_connecting_is_read_with_an_option(emm_alone, simulated_gateway):
    gateway = simulated_gateway({1: SimulatedUnit(WORDS)}, deaf_s=1.0)
    place = f"{gateway.host}:{gateway.port}"
    silent = emm_alone("read", place, "--fc", 4, "--timeout", 0.2)
    assert "--connect-pause 2" in silent.stdout
    assert emm_alone("read", place, "--fc", 4, "--timeout", 0.2, "--connect-pause", 1.2).returncode == 0
