"""Registers and their values from public sources, decoded with the catalogue's rows."""

import struct
from datetime import UTC, datetime

import pytest

from emm_pipeline.catalog import load_catalogue
from emm_pipeline.fleet import EnergyMeter
from emm_pipeline.modbus.decoding import decode_readings
from emm_pipeline.readings import MeterReading, RegisterBlock, Request

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def decoded(type_name, measurement, words):
    """Return the value that the type's row gives for registers at its address; None if there is no value."""
    meter_type = load_catalogue()[type_name].meter_type
    (register,) = [r for r in meter_type.registers if r.measurement_name == measurement]
    data = struct.pack(f">{len(words)}H", *words)
    block = RegisterBlock(Request(register.function_code, register.register_address, len(words)), data)
    sample = MeterReading(EnergyMeter(1, "h", 502, 1, type_name), NOON, (block,))
    frame = decode_readings([sample], {type_name: meter_type})
    values = dict(zip(frame["measurement"], frame["value"], strict=True))
    return values.get(measurement)


# Tasmota, comments of its drivers for SDM120 and SDM630, after Eastron's own example: "43 66 33 34 = 230.2 Volt".
@pytest.mark.parametrize("type_name", ["sdm120", "sdm220", "sdm230", "sdm630", "sdm72dm_v2"])
def test_eastrons_example_of_a_voltage(type_name):
    assert decoded(type_name, "voltageL1", [0x4366, 0x3334]) == pytest.approx(230.2, rel=1e-6)


# balloobbot/eltako-modbus, tests/conftest.py: the two energies are the frame of Eltako's document (2.1.2).
@pytest.mark.parametrize(
    ("measurement", "words", "value"),
    [
        ("importActiveEnergy", [0x0000, 0x01CD], 4.61),
        ("exportActiveEnergy", [0x0000, 0x0170], 3.68),
        ("voltageL1", [0x0000, 23012], 230.12),
        ("currentL2", [0x0000, 1250], 12.5),
        ("powerFactorL2", [0xFFFF, 0x10000 - 864], -0.864),
    ],
)
def test_eltakos_examples(measurement, words, value):
    assert decoded("eltako_dsz15", measurement, words) == value


# volkszaehler/mbmd, meters/rs485/abb.go: all ones, and for signed values the largest one, mean that there is no value.
@pytest.mark.parametrize(
    ("measurement", "words"),
    [
        ("voltageL2", [0xFFFF] * 2),
        ("activePowerL2", [0x7FFF, 0xFFFF]),
        ("frequency", [0xFFFF]),
        ("importActiveEnergyL1", [0xFFFF] * 4),
    ],
)
def test_values_that_an_abb_meter_does_not_measure_are_absent(measurement, words):
    assert decoded("abb_b23_b24", measurement, words) is None


def test_an_abb_value_next_to_the_one_that_means_no_value_is_decoded():
    assert decoded("abb_b23_b24", "activePower", [0xFFFF, 0xFFFF]) == -0.01
    assert decoded("abb_b23_b24", "importActiveEnergy", [0, 0, 0, 12345]) == 123.45


# victronenergy/dbus-modbus-client, abb.py: the type as text, four characters in two registers.
@pytest.mark.parametrize(
    ("type_name", "text", "matches"),
    [
        ("abb_b23_b24", b"B23 ", True),
        ("abb_b23_b24", b"B24 ", True),
        ("abb_b23_b24", b"B21 ", False),
        ("abb_b21", b"B21 ", True),
    ],
)
def test_abb_meters_are_distinguished_by_their_type(type_name, text, matches):
    (identification,) = load_catalogue()[type_name].identifications
    assert identification.matches(int.from_bytes(text, "big")) is matches


# victronenergy/dbus-modbus-client, carlo_gavazzi.py: 1648 to 1653 are the Ethernet variants of the EM24.
@pytest.mark.parametrize(("code", "matches"), [(1647, False), (1648, True), (1653, True), (1654, False)])
def test_the_em24_with_ethernet_is_identified(code, matches):
    strong, *_ = load_catalogue()["cg_em24_ethernet"].identifications
    assert strong.strong
    assert strong.matches(code) is matches


# SunSpec's mark "SunS", quoted as 0x53756E53 (sunspec-implementation-technical-note, in many public copies); a Fronius
# has "Fronius" as its vendor (Brovning/fronius, fronius/module.php); models 111 to 113 are the float ones.
@pytest.mark.parametrize(("model", "matches"), [(103, False), (111, True), (113, True), (160, False)])
def test_a_fronius_with_floats_is_identified(model, matches):
    mark, maker, models = load_catalogue()["fronius_float"].identifications
    assert mark.matches(0x53756E53)
    assert maker.matches(int.from_bytes(b"Fronius"[:4], "big"))
    assert models.matches(model) is matches
