"""A register that the device refuses, or does not answer for, is named wherever the status of its meter is shown."""

import json

import pytest
from support.command_line import CommandLine
from support.meters import SimulatedUnit, encode_value, inputs

from emm_pipeline.fleet import DataType

POWER = 52
WORDS = {(4, address): 0 for address in range(80)}
WORDS |= inputs(0, encode_value(230.5, DataType.FLOAT)) | inputs(POWER, encode_value(1000.0, DataType.FLOAT))


def touches_power(request):
    return request.address < POWER + 2 and request.address + request.count > POWER


FAULTS = {
    "refused": {"exceptions": {POWER: 2, POWER + 1: 2}},
    "silent": {"ignores": touches_power},
    "closed": {"closes_on": touches_power},
}


def status_of_meter(emm):
    (meter,) = json.loads(emm("status", "--json").stdout)["meters"]
    return meter


@pytest.fixture
def installation(pipeline, command_server):
    """The pipeline, and the command line with its settings."""
    return pipeline, CommandLine({}, command_server)


@pytest.mark.parametrize(
    ("transport", "fault", "was_given"),
    [
        ("tcp", "refused", True),
        ("tcp", "refused", False),
        ("rtu", "silent", True),
        ("tcp", "silent", False),
        ("tcp", "closed", True),
        ("rtu", "refused", False),
    ],
)
def test_an_absent_register_makes_its_meter_degraded_and_is_named_until_it_comes_back(
    installation, polled_gateway, transport, fault, was_given
):
    pipeline, emm = installation
    gateway = polled_gateway({1: SimulatedUnit(WORDS)}, rtu=transport == "rtu")
    pipeline.add_meter(1, gateway.port)
    pipeline.sql(f"UPDATE energy_meters SET transport = '{transport}'")
    pipeline.sql("INSERT INTO meter_types (type, timeout_s) VALUES ('sdm630', 1)")
    assert pipeline.run("discovery").success
    if was_given:
        assert pipeline.run("poll").success
        assert status_of_meter(emm)["status"] == "ok"
    for name, value in FAULTS[fault].items():
        setattr(gateway.units[1], name, value)
    for _ in range(3):
        pipeline.run("poll")
    meter = status_of_meter(emm)
    assert meter["status"] == "degraded"
    assert "activePower" in meter["reason"]
    shown = emm("status").stdout
    assert "DEGRADED" in shown
    assert "activePower" in shown
    listed = emm("meters", "list").stdout
    assert "degraded" in listed
    assert "activePower" in listed
    (last,) = pipeline.sql("SELECT measurement FROM readings WHERE time = (SELECT max(time) FROM readings)")
    assert last == ("voltageL1",)

    gateway.units[1].exceptions, gateway.units[1].ignores, gateway.units[1].closes_on = {}, None, None
    pipeline.sql("DELETE FROM refused_registers WHERE NOT temporary")
    pipeline.run("poll")
    assert status_of_meter(emm)["status"] == "ok"
