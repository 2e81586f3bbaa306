"""Registers with the content of real devices, polled over a socket, and the resulting points.

Addresses, registers and values were copied by hand from the sources that the files of the catalogue cite, not from the
catalogue itself.
"""

import struct

import pytest
from support.catalogue import device, points
from support.meters import HOLDING, INPUT


def float_words(value):
    return struct.unpack(">2H", struct.pack(">f", value))


# By type: function code, address, words as they are on the wire, measurement, value, unit.
ROWS = {
    "abb_b21": [
        (HOLDING, 23354, [0xFC8D], "powerFactor", -0.883, None),
    ],
    "abb_b23_b24": [
        (HOLDING, 23354, [998], "powerFactor", 0.998, None),
        (HOLDING, 23355, [0xFC8D], "powerFactorL1", -0.883, None),
        (HOLDING, 23356, [950], "powerFactorL2", 0.95, None),
        (HOLDING, 23357, [1000], "powerFactorL3", 1.0, None),
    ],
    "cg_em100": [
        (INPUT, 2, [0x3039, 0], "currentL1", 12.345, "A"),
        (INPUT, 14, [0xFC8D], "powerFactor", -0.883, None),
        (INPUT, 18, [1234, 1], "importReactiveEnergy", 6677.0, "kvarh"),
        (INPUT, 34, [1235, 0], "exportReactiveEnergy", 123.5, "kvarh"),
    ],
    "cg_em24_rs485": [
        (INPUT, 6, [4003, 0], "voltageL1L2", 400.3, "V"),
        (INPUT, 8, [4004, 0], "voltageL2L3", 400.4, "V"),
        (INPUT, 10, [4005, 0], "voltageL3L1", 400.5, "V"),
        (INPUT, 24, [10001, 0], "apparentPowerL1", 1000.1, "VA"),
        (INPUT, 26, [10002, 0], "apparentPowerL2", 1000.2, "VA"),
        (INPUT, 28, [10003, 0], "apparentPowerL3", 1000.3, "VA"),
        (INPUT, 30, [0xFFFF, 0xFFFF], "reactivePowerL1", -0.1, "var"),
        (INPUT, 32, [12, 0], "reactivePowerL2", 1.2, "var"),
        (INPUT, 34, [13, 0], "reactivePowerL3", 1.3, "var"),
        (INPUT, 36, [2311, 0], "voltageLN", 231.1, "V"),
        (INPUT, 38, [4006, 0], "voltageLL", 400.6, "V"),
        (INPUT, 42, [30006, 0], "apparentPower", 3000.6, "VA"),
        (INPUT, 44, [24, 0], "reactivePower", 2.4, "var"),
        (INPUT, 62, [0x86A1, 1], "importActiveEnergy", 10000.1, "kWh"),
        (INPUT, 64, [5551, 0], "importReactiveEnergy", 555.1, "kvarh"),
        (INPUT, 94, [5552, 0], "exportReactiveEnergy", 555.2, "kvarh"),
    ],
    "cg_em300": [
        (INPUT, 6, [4003, 0], "voltageL1L2", 400.3, "V"),
        (INPUT, 8, [4004, 0], "voltageL2L3", 400.4, "V"),
        (INPUT, 10, [4005, 0], "voltageL3L1", 400.5, "V"),
        (INPUT, 36, [2311, 0], "voltageLN", 231.1, "V"),
        (INPUT, 38, [4006, 0], "voltageLL", 400.6, "V"),
        (INPUT, 54, [5551, 0], "importReactiveEnergy", 555.1, "kvarh"),
        (INPUT, 80, [5552, 0], "exportReactiveEnergy", 555.2, "kvarh"),
        (INPUT, 96, [0x86A1, 1], "exportActiveEnergyL1", 10000.1, "kWh"),
        (INPUT, 98, [22, 0], "exportActiveEnergyL2", 2.2, "kWh"),
        (INPUT, 100, [33, 0], "exportActiveEnergyL3", 3.3, "kWh"),
    ],
    "chint_dtsu666": [
        (HOLDING, 4128, float_words(1.5), "importActiveEnergyL1", 1.5, "kWh"),
        (HOLDING, 4130, float_words(2.5), "importActiveEnergyL2", 2.5, "kWh"),
        (HOLDING, 4132, float_words(3.5), "importActiveEnergyL3", 3.5, "kWh"),
    ],
    "eltako_dsz15": [
        (INPUT, 12, [0, 990], "activePowerL1", 990.0, "W"),
        (INPUT, 14, [0, 2875], "activePowerL2", 2875.0, "W"),
        (INPUT, 16, [0xFFFF, 0xFE3E], "activePowerL3", -450.0, "W"),
        (INPUT, 52, [0, 3415], "activePower", 3415.0, "W"),
    ],
    "eltako_dsz16": [
        (INPUT, 18, [0, 1020], "apparentPowerL1", 1020.0, "VA"),
        (INPUT, 20, [0, 2900], "apparentPowerL2", 2900.0, "VA"),
        (INPUT, 22, [0, 500], "apparentPowerL3", 500.0, "VA"),
        (INPUT, 24, [0, 240], "reactivePowerL1", 240.0, "var"),
        (INPUT, 26, [0xFFFF, 0xFED4], "reactivePowerL2", -300.0, "var"),
        (INPUT, 28, [0, 7], "reactivePowerL3", 7.0, "var"),
        (INPUT, 54, [0, 4420], "apparentPower", 4420.0, "VA"),
        (INPUT, 56, [0xFFFF, 0xFFC4], "reactivePower", -60.0, "var"),
        (INPUT, 70, [0, 5001], "frequency", 50.01, "Hz"),
    ],
    "finder_7m38": [
        (INPUT, 2498, float_words(50.0625), "frequency", 50.0625, "Hz"),
    ],
    "growatt_min_tlx": [
        (INPUT, 3028, [0, 30001], "apparentPowerL1", 3000.1, "VA"),
        (INPUT, 3030, [2312], "voltageL2", 231.2, "V"),
        (INPUT, 3031, [62], "currentL2", 6.2, "A"),
        (INPUT, 3034, [2313], "voltageL3", 231.3, "V"),
        (INPUT, 3035, [63], "currentL3", 6.3, "A"),
        (INPUT, 3041, [1, 1], "gridImportPower", 6553.7, "W"),
        (INPUT, 3043, [0, 12345], "gridExportPower", 1234.5, "W"),
        (INPUT, 3049, [0, 123], "generatedEnergyToday", 12.3, "kWh"),
        (INPUT, 3053, [1, 2], "dcEnergy", 6553.8, "kWh"),
        (INPUT, 3069, [0, 456], "importActiveEnergy", 45.6, "kWh"),
        (INPUT, 3073, [0, 789], "exportActiveEnergy", 78.9, "kWh"),
    ],
    "huawei_sun2000": [
        *((HOLDING, 32014 + 2 * n, [6000 + n], f"dcVoltage{n}", (6000 + n) / 10, "V") for n in range(1, 10)),
        *((HOLDING, 32015 + 2 * n, [1000 + n], f"dcCurrent{n}", (1000 + n) / 100, "A") for n in range(1, 10)),
        (HOLDING, 32108, [1, 1], "dcEnergy", 655.37, "kWh"),
    ],
    "janitza_umg96rm": [
        (HOLDING, 19006, float_words(400.5), "voltageL1L2", 400.5, "V"),
        (HOLDING, 19008, float_words(401.5), "voltageL2L3", 401.5, "V"),
        (HOLDING, 19010, float_words(402.5), "voltageL3L1", 402.5, "V"),
        (HOLDING, 19028, float_words(1000.5), "apparentPowerL1", 1000.5, "VA"),
        (HOLDING, 19030, float_words(1001.5), "apparentPowerL2", 1001.5, "VA"),
        (HOLDING, 19032, float_words(1002.5), "apparentPowerL3", 1002.5, "VA"),
        (HOLDING, 19034, float_words(3004.5), "apparentPower", 3004.5, "VA"),
        (HOLDING, 19044, float_words(0.5), "powerFactorL1", 0.5, None),
        (HOLDING, 19046, float_words(-0.25), "powerFactorL2", -0.25, None),
        (HOLDING, 19048, float_words(0.75), "powerFactorL3", 0.75, None),
        (HOLDING, 19062, float_words(1500.0), "importActiveEnergyL1", 1.5, "kWh"),
        (HOLDING, 19064, float_words(2500.0), "importActiveEnergyL2", 2.5, "kWh"),
        (HOLDING, 19066, float_words(3500.0), "importActiveEnergyL3", 3.5, "kWh"),
        (HOLDING, 19070, float_words(4500.0), "exportActiveEnergyL1", 4.5, "kWh"),
        (HOLDING, 19072, float_words(5500.0), "exportActiveEnergyL2", 5.5, "kWh"),
        (HOLDING, 19074, float_words(6500.0), "exportActiveEnergyL3", 6.5, "kWh"),
        (HOLDING, 19084, float_words(7500.0), "apparentEnergy", 7.5, "kVAh"),
        (HOLDING, 19110, float_words(1.25), "voltageThdL1", 1.25, "%"),
        (HOLDING, 19112, float_words(1.5), "voltageThdL2", 1.5, "%"),
        (HOLDING, 19114, float_words(1.75), "voltageThdL3", 1.75, "%"),
        (HOLDING, 19116, float_words(2.25), "currentThdL1", 2.25, "%"),
        (HOLDING, 19118, float_words(2.5), "currentThdL2", 2.5, "%"),
        (HOLDING, 19120, float_words(2.75), "currentThdL3", 2.75, "%"),
    ],
    "schneider_iem3155": [
        (HOLDING, 3009, float_words(5.5), "currentMean", 5.5, "A"),
        (HOLDING, 3025, float_words(400.5), "voltageLL", 400.5, "V"),
        (HOLDING, 3035, float_words(230.5), "voltageLN", 230.5, "V"),
        (HOLDING, 3067, float_words(-0.25), "reactivePower", -250.0, "var"),
        (HOLDING, 3075, float_words(1.5), "apparentPower", 1500.0, "VA"),
        (HOLDING, 3203, [0, 1, 2, 3], "importActiveEnergy", 4295098.371, "kWh"),
        (HOLDING, 3207, [0, 0, 0, 1234], "exportActiveEnergy", 1.234, "kWh"),
        (HOLDING, 3219, [0, 0, 0, 1235], "importReactiveEnergy", 1.235, "kvarh"),
        (HOLDING, 3223, [0, 0, 0, 1236], "exportReactiveEnergy", 1.236, "kvarh"),
        (HOLDING, 3517, [0, 0, 0, 1237], "importActiveEnergyL1", 1.237, "kWh"),
        (HOLDING, 3521, [0, 0, 0, 1238], "importActiveEnergyL2", 1.238, "kWh"),
        (HOLDING, 3525, [0, 0, 0, 1239], "importActiveEnergyL3", 1.239, "kWh"),
    ],
    "siemens_pac2200": [
        (INPUT, 55, float_words(50.0625), "frequency", 50.0625, "Hz"),
    ],
    "sungrow_sg": [
        (INPUT, 5002, [123], "generatedEnergyToday", 12.3, "kWh"),
        (INPUT, 5003, [12345, 0], "generatedEnergy", 12345.0, "kWh"),
        (INPUT, 5082, [0xFFFF, 0xFFFF], "gridPower", -1.0, "W"),
        (INPUT, 5084, [1001, 0], "gridPowerL1", 1001.0, "W"),
        (INPUT, 5086, [1002, 0], "gridPowerL2", 1002.0, "W"),
        (INPUT, 5088, [1003, 0], "gridPowerL3", 1003.0, "W"),
        (INPUT, 5094, [1, 1], "exportActiveEnergy", 6553.7, "kWh"),
        (INPUT, 5098, [2, 1], "importActiveEnergy", 6553.8, "kWh"),
        *((INPUT, 5106 + 2 * n, [6000 + n], f"dcVoltage{n}", (6000 + n) / 10, "V") for n in range(4, 9)),
        *((INPUT, 5107 + 2 * n, [100 + n], f"dcCurrent{n}", (100 + n) / 10, "A") for n in range(4, 9)),
        *((INPUT, 5111 + 2 * n, [6000 + n], f"dcVoltage{n}", (6000 + n) / 10, "V") for n in range(9, 13)),
        *((INPUT, 5112 + 2 * n, [100 + n], f"dcCurrent{n}", (100 + n) / 10, "A") for n in range(9, 13)),
        (INPUT, 5143, [0xE240, 1], "generatedEnergyHighResolution", 12345.6, "kWh"),
        (INPUT, 5147, [5001], "frequencyHighResolution", 50.01, "Hz"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("type_name", ROWS)
def test_each_register_becomes_the_point_that_the_sources_agree_on(type_name, simulated_gateway):
    words = {(code, address): some for code, address, some, _, _, _ in ROWS[type_name]}
    stored = points(simulated_gateway, type_name, device(words, elsewhere=1))
    expected = {measurement: (value, unit) for _, _, _, measurement, value, unit in ROWS[type_name]}
    assert {measurement: stored.get(measurement) for measurement in expected} == expected


def test_energy_of_64_bits_counts_single_watt_hours(simulated_gateway):
    """The 32-bit float of the same energy has steps of 0.0625 kWh above 524 288 kWh."""
    stored = [
        points(simulated_gateway, "schneider_iem3155", device({(HOLDING, 3203): [0, 0, 0x2540, 0xBE40 + more]}))
        for more in (0, 1)
    ]
    before, after = (each["importActiveEnergy"][0] for each in stored)
    assert (before, after) == (625000.0, 625000.001)
