"""Hybrids, batteries and meters while a house imports 1500 W and its battery discharges, and while both are reversed.

Registers and their signs were copied by hand from evcc, openWB and Tinkerforge, not from the catalogue.
"""

import pytest
from support.catalogue import device, points
from support.meters import HOLDING, INPUT

IMPORT, DISCHARGE = 1500, 700  # W


def high_first(number):
    return [number >> 16 & 0xFFFF, number & 0xFFFF]


def low_first(number):
    return high_first(number)[::-1]


def one(number):
    return [number & 0xFFFF]


# By type: the registers of a device whose grid and battery powers are these, in W.
DEVICES = {
    "alpha_ess": lambda grid, battery: {(HOLDING, 33): high_first(grid), (HOLDING, 294): one(battery)},
    "deye_hybrid_1p": lambda grid, battery: {(HOLDING, 169): one(grid), (HOLDING, 190): one(battery)},
    "e3dc": lambda grid, battery: {(HOLDING, 40069): low_first(-battery), (HOLDING, 40073): low_first(grid)},
    "fox_h3": lambda grid, battery: {
        (HOLDING, 31026): [*one(-grid), 0, 0],
        (HOLDING, 31036): one(battery),
    },
    "goodwe_et": lambda grid, battery: {(HOLDING, 36025): high_first(-grid), (HOLDING, 35182): high_first(battery)},
    "growatt_sph": lambda grid, battery: {
        (INPUT, 1021): high_first(max(grid, 0) * 10),
        (INPUT, 1029): high_first(max(-grid, 0) * 10),
        (INPUT, 1009): high_first(max(battery, 0) * 10) + high_first(max(-battery, 0) * 10),
    },
    "growatt_tlxh": lambda grid, battery: {
        (INPUT, 3041): high_first(max(grid, 0) * 10) + high_first(max(-grid, 0) * 10),
        (INPUT, 3178): high_first(max(battery, 0) * 10) + high_first(max(-battery, 0) * 10),
    },
    "huawei_emma": lambda grid, battery: {(HOLDING, 31657): high_first(grid), (HOLDING, 30360): high_first(-battery)},
    "siemens_junelight": lambda grid, battery: {(HOLDING, 14): high_first(grid), (HOLDING, 6): high_first(battery)},
    "sma_hybrid": lambda grid, battery: {
        (HOLDING, 30865): high_first(max(grid, 0)) + high_first(max(-grid, 0)),
        (HOLDING, 31393): high_first(max(-battery, 0)) + high_first(max(battery, 0)),
    },
    "sofar_g3": lambda grid, battery: {(HOLDING, 0x488): one(-grid // 10), (HOLDING, 0x606): one(-battery // 10)},
    "solarmax_maxstorage": lambda grid, battery: {(INPUT, 118): low_first(-grid), (INPUT, 114): low_first(-battery)},
    "solax_hybrid": lambda grid, battery: {(INPUT, 70): low_first(-grid), (INPUT, 22): one(-battery)},
    "solinteg": lambda grid, battery: {(HOLDING, 11000): high_first(-grid), (HOLDING, 30258): high_first(battery)},
    "sungrow_ihm": lambda grid, battery: {
        (INPUT, 8156): low_first(grid // 10),
        (INPUT, 8160): low_first(battery // 10),
    },
    "sungrow_sh": lambda grid, battery: {  # bit 1 of 13000: charging; the power itself is positive
        (INPUT, 5600): low_first(grid),
        (INPUT, 13000): [2 if battery < 0 else 4],
        (INPUT, 13021): one(abs(battery)),
    },
    "sunways_hybrid": lambda grid, battery: {
        (HOLDING, 11000): high_first(-grid),
        (HOLDING, 40258): high_first(battery),
    },
    "varta": lambda grid, battery: {(HOLDING, 1078): one(-grid), (HOLDING, 1066): one(-battery)},
    "victron_gx": lambda grid, battery: {(INPUT, 820): [*one(grid), 0, 0], (INPUT, 842): one(-battery)},
}


@pytest.mark.parametrize("type_name", DEVICES)
@pytest.mark.parametrize("sign", [1, -1], ids=["importing and discharging", "exporting and charging"])
def test_import_and_discharge_are_positive(type_name, sign, simulated_gateway):
    registers = DEVICES[type_name](sign * IMPORT, sign * DISCHARGE)
    stored = points(simulated_gateway, type_name, device(registers))
    powers = {name: stored.get(name) for name in ("gridPower", "batteryPower")}
    assert powers == {"gridPower": (sign * IMPORT, "W"), "batteryPower": (sign * DISCHARGE, "W")}


@pytest.mark.parametrize("sign", [1, -1], ids=["discharging", "charging"])
@pytest.mark.parametrize(
    ("type_name", "address", "words"),
    [
        ("fox_h3_smart", (HOLDING, 39237), high_first),
        ("fox_avocado", (HOLDING, 39237), lambda watts: high_first(-watts)),
        ("huawei_luna2000", (HOLDING, 37765), lambda watts: high_first(-watts)),
        ("deye_hybrid_3p", (HOLDING, 590), one),
        ("anker_solarbank", (INPUT, 10008), high_first),
        ("sma_sunny_boy_storage", (HOLDING, 30775), high_first),
    ],
)
def test_a_battery_without_a_grid_meter_discharges_positively(type_name, address, words, sign, simulated_gateway):
    stored = points(simulated_gateway, type_name, device({address: words(sign * DISCHARGE)}))
    assert stored["batteryPower"] == (sign * DISCHARGE, "W")


@pytest.mark.parametrize("sign", [1, -1], ids=["importing", "exporting"])
def test_current_of_a_grid_meter_of_huawei_has_the_direction_of_its_power(sign, simulated_gateway):
    registers = {(HOLDING, 37107): high_first(-sign * 652), (HOLDING, 37113): high_first(-sign * IMPORT)}
    stored = points(simulated_gateway, "huawei_meter", device(registers))
    assert stored["activePower"] == (sign * IMPORT, "W")
    assert stored["currentL1"] == (pytest.approx(sign * 6.52), "A")
