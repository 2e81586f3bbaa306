"""Registers that mean "no value", polled over a socket: no point is stored for them."""

import struct

import pytest
from support.catalogue import device, points
from support.meters import HOLDING, INPUT, SimulatedUnit
from support.sunspec import sunspec_registers

from emm_pipeline.catalog import load_catalogue
from emm_pipeline.fleet import DataType, Order
from emm_pipeline.modbus.no_value import no_value_patterns

CATALOGUE = load_catalogue()

LARGEST = {DataType.INT: 0x7FFF, DataType.UINT16: 0xFFFF, DataType.LONG: 0x7FFFFFFF, DataType.UINT32: 0xFFFFFFFF}
"""The content of Huawei's, Sungrow's and ABB's registers without a value: the largest number of the type."""

NO_VALUE = {
    "huawei_sun2000": (LARGEST, {}),
    "sungrow_sg": (LARGEST, dict.fromkeys(("currentL1", "currentL2", "currentL3"), 0xFFFF)),
    "abb_b21": (LARGEST | {DataType.UINT64: 2**64 - 1}, {}),
    "abb_b23_b24": (LARGEST | {DataType.UINT64: 2**64 - 1}, {}),
    "cg_em100": ({DataType.LONG: 0x7FFFFFFF}, {"frequency": 0xFFFF}),
    "cg_em300": (
        {DataType.LONG: 0x7FFFFFFF},
        dict.fromkeys([f"exportActiveEnergyL{n}" for n in (1, 2, 3)], 0) | {"frequency": 0xFFFF},
    ),
    "sma_shm20": ({DataType.LONG: 0x80000000}, {}),
    "cg_em24_rs485": ({DataType.LONG: 0x7FFFFFFF}, {"frequency": 0xFFFF}),
}
"""By type: the content of registers without a value for each data type, and measurements with another content."""


@pytest.mark.parametrize("type_name", NO_VALUE)
def test_a_register_without_a_value_becomes_no_point(type_name, simulated_gateway):
    by_data_type, by_measurement = NO_VALUE[type_name]
    words, expected = {}, set()
    for register in CATALOGUE[type_name].registers:
        raw = by_measurement.get(register.measurement_name, by_data_type.get(register.data_type))
        if raw is None:
            expected.add(register.measurement_name)
        else:
            high_first = struct.unpack(f">{register.count}H", raw.to_bytes(2 * register.count, "big"))
            in_order = high_first[::-1] if register.word_order is Order.LITTLE_ENDIAN else high_first
            words[register.function_code, register.register_address] = in_order
    assert set(points(simulated_gateway, type_name, device(words, elsewhere=1))) == expected


# By type: function code, content of the registers of a missing input, and address of its voltage; its current is next.
INPUTS = {
    "huawei_sun2000": (HOLDING, 0x7FFF, {n: 32014 + 2 * n for n in range(1, 10)}),
    "sungrow_sg": (
        *(INPUT, 0xFFFF),
        {n: (5008 if n < 4 else 5106 if n < 9 else 5111) + 2 * n for n in range(1, 13)},
    ),
}


@pytest.mark.parametrize("type_name", INPUTS)
def test_only_the_two_inputs_that_an_inverter_has_are_stored(type_name, emm, config_engine, simulated_gateway):
    function_code, nothing, addresses = INPUTS[type_name]
    words = {
        (function_code, address): [6000, 100] if number <= 2 else [nothing, nothing]
        for number, address in addresses.items()
    }
    gateway = simulated_gateway({1: SimulatedUnit(device(words))})
    assert emm("types", "install", type_name).returncode == 0
    assert (
        emm("meters", "add", "--no-test", f"{gateway.host}:{gateway.port}", "--unit", 1, "--type", type_name).returncode
        == 0
    )
    polled = emm("poll")
    assert polled.returncode == 0, polled.stderr
    with config_engine.connect() as connection:
        stored = connection.exec_driver_sql(
            "SELECT measurement, value FROM readings WHERE measurement ~ '^dc(Voltage|Current)[0-9]' ORDER BY 1"
        ).all()
    current = {"huawei_sun2000": 1.0, "sungrow_sg": 10.0}[type_name]
    assert stored == [("dcCurrent1", current), ("dcCurrent2", current), ("dcVoltage1", 600.0), ("dcVoltage2", 600.0)]


@pytest.mark.parametrize("model", [101, 102, 103])
def test_an_energy_of_0_of_a_sunspec_inverter_means_no_value(model, simulated_gateway):
    """An accumulator that an inverter does not have, or not yet in the morning, reads 0."""
    content = [0] * 50
    content[14 - 2] = 1500
    registers, _ = sunspec_registers([(1, [0] * 66), (model, content)])
    stored = points(simulated_gateway, f"sunspec_{model}", registers)
    assert stored["activePower"] == (1500.0, "W")
    assert "generatedEnergy" not in stored
    content[25 - 2] = 12345
    registers, _ = sunspec_registers([(1, [0] * 66), (model, content)])
    assert points(simulated_gateway, f"sunspec_{model}", registers)["generatedEnergy"] == (12.345, "kWh")


def test_a_single_phase_growatt_gives_no_voltage_of_phases_2_and_3(simulated_gateway):
    stored = points(simulated_gateway, "growatt_min_tlx", device({(INPUT, 3026): [2311]}))
    assert {name: value for name, value in stored.items() if name.startswith("voltage")} == {"voltageL1": (231.1, "V")}


@pytest.mark.parametrize("type_name", CATALOGUE)
def test_every_invalid_value_is_one_that_its_register_can_hold(type_name):
    for register in CATALOGUE[type_name].registers:
        given = [value for value in (register.invalid_value, *register.invalid_values) if value is not None]
        assert len(no_value_patterns(register)) == len(given), register
