"""Devices from the field, each over a socket, with the rows that a person would import and values known beforehand.

Addresses and codings are those of the public device maps in tools/data (evcc, OpenEMS, ha-solarman, mkaiser, Victron).
"""

import asyncio
import csv
import io
import time

import pytest
from support.meters import COILS, HOLDING, INPUT, SimulatedUnit, encode_text, encode_value, holding, inputs
from support.sunspec import sunspec_registers

from emm_pipeline.config_db.validation import check_rows
from emm_pipeline.fleet import DataType
from emm_pipeline.modbus.decoding import decode_with_notices
from emm_pipeline.modbus.fleet_reading import Conditions, read_meters

REGISTER = "type,register_address,measurement_name,data_unit,data_type,function_code,word_order,byte_order"
COMBINED = "type,measurement_name,data_unit,part,factor,optional"


def table(header, *lines):
    rows = csv.DictReader(io.StringIO("\n".join([header, *(f"t,{line}" for line in lines)])))
    return [{column: cell or None for column, cell in row.items()} for row in rows]


class Device:
    """A device behind a simulated gateway, and its rows of the configuration database."""

    def __init__(self, gateway, registers, combined=(), **columns):
        meter = {"id": 1, "host": gateway.host, "port": gateway.port, "slave_address": 1, "type": "t", "enabled": True}
        of_meter = {name: columns.pop(name) for name in ("factor",) if name in columns}
        settings = [{"type": "t", **columns}] if columns else []
        self.fleet = check_rows([meter | of_meter], registers, settings, combined)
        assert not self.fleet.issues, self.fleet.issues
        self.gateway = gateway

    def reading(self, **conditions):
        (reading,) = asyncio.run(
            read_meters(
                self.fleet.meters,
                self.fleet.types,
                deadline=time.monotonic() + 30,
                conditions=Conditions(10, **conditions),
            )
        )
        return reading

    def poll(self):
        """Return the values by name, the notices, and whether reading failed."""
        reading = self.reading()
        decoded = decode_with_notices([reading], self.fleet.types)
        assert reading.failure is None, reading.failure
        self.notices = [*reading.notices, *decoded.notices.get(1, ())]
        return dict(zip(decoded.frame["measurement"], decoded.frame["value"], strict=True))


@pytest.fixture
def device(simulated_gateway):
    def start(registers, rows, combined=(), *, unit=None, **columns):
        gateway = simulated_gateway({1: unit or SimulatedUnit(registers)})
        return Device(gateway, rows, combined, **columns)

    return start


def test_grid_power_of_an_sma_home_manager_is_import_minus_export(device):
    rows = table(
        f"{REGISTER},invalid_values,stored",
        "30865,gridImportPower,W,2,4,2,2,-2147483648 2147483647,false",
        "30867,gridExportPower,W,2,4,2,2,-2147483648 2147483647,false",
    )
    sums = table(COMBINED, "gridPower,W,gridImportPower,1,", "gridPower,W,gridExportPower,-1,")
    words = [*encode_value(500, DataType.LONG), *encode_value(1200, DataType.LONG)]
    meter = device(inputs(30865, words), rows, sums)
    assert meter.poll() == {"gridPower": -700}
    silent = device(inputs(30865, [*words[:2], *encode_value(-(2**31), DataType.LONG)]), rows, sums)
    assert silent.poll() == {}
    assert silent.notices == ["left out: gridPower, since the device has no value for its part gridExportPower"]


def test_pv_and_battery_power_of_a_fronius_gen24_are_blocks_of_one_sunspec_model(device):
    header = f"{REGISTER},scale_register,model,stored"
    rows = table(header, *(f"{10 + 20 * block + 11},block{block + 1},W,4,3,2,2,4,160,false" for block in range(4)))
    sums = table(
        COMBINED,
        "dcPower,W,block1,1,",
        "dcPower,W,block2,1,true",
        "batteryPower,W,block4,1,",
        "batteryPower,W,block3,-1,",
    )
    content = [0] * 88
    content[4 - 2] = -1 % 65536  # the power's scale factor
    for block, raw in enumerate([23145, 0xFFFF, 12345, 0]):
        content[10 + 20 * block + 11 - 2] = raw
    registers, _ = sunspec_registers([(1, [0] * 66), (103, [0] * 50), (160, content)])
    assert device(registers, rows, sums).poll() == {"dcPower": 2314.5, "batteryPower": -1234.5}


def test_a_deye_hybrid_has_its_import_in_two_places_its_temperatures_above_1000_and_its_power_in_halves(device):
    rows = table(
        f"{REGISTER},scale,value_offset,stored,high_register_address",
        "78,importLow,kWh,4,3,2,2,0.1,,false,",
        "80,importHigh,kWh,4,3,2,2,6553.6,,false,",
        "540,temperatureDc,°C,4,3,2,2,0.1,-100,,",
        "541,temperature,°C,4,3,2,2,0.1,-100,,",
        "625,gridPower,W,2,3,2,2,,,,690",
    )
    sums = table(COMBINED, "importActiveEnergy,kWh,importLow,1,", "importActiveEnergy,kWh,importHigh,1,")
    registers = holding(78, [1234, 5000, 3]) | holding(540, [985, 1234])
    registers |= holding(625, [(-40000) & 0xFFFF, *[0] * 64, (-40000 >> 16) & 0xFFFF])
    assert device(registers, rows, sums).poll() == {
        "temperatureDc": -1.5,
        "temperature": 23.4,
        "gridPower": -40000,
        "importActiveEnergy": 19784.2,
    }


def test_power_of_a_sax_battery_is_0_in_the_middle_of_the_range(device):
    rows = table(f"{REGISTER},value_offset", "47,batteryPower,W,4,3,2,2,-16384", "48,gridPower,W,4,3,2,2,-16384")
    assert device(holding(47, [16384, 15884]), rows).poll() == {"batteryPower": 0, "gridPower": -500}


@pytest.mark.parametrize(("state", "power"), [(0b0000_0010, -3000), (0b0000_0100, 3000), (0, 3000)])
def test_battery_power_of_a_sungrow_has_its_direction_in_another_register(device, state, power):
    rows = table(f"{REGISTER},sign_register,sign_mask", "13021,batteryPower,W,4,4,2,2,13000,0x0002")
    meter = device(inputs(13000, [state, *[0] * 20, 3000]), rows)
    assert meter.poll() == {"batteryPower": power}
    assert [(each.address, each.count) for each in meter.gateway.received] == [(13000, 22)]


def test_currents_of_a_dtsd422_have_a_sign_bit_in_place_of_negative_numbers(device):
    rows = table(
        f"{REGISTER},scale,mask,sign_register,sign_mask",
        "7,currentL1,A,5,3,2,2,0.001,0x7FFFFFFF,7,0x8000",
        "9,currentL2,A,5,3,2,2,0.001,0x7FFFFFFF,9,0x8000",
        "37,powerFactorL1,,10,3,2,2,0.001,,,",
        "38,powerFactorL2,,10,3,2,2,0.001,,,",
    )
    registers = holding(7, [0x8000, 5230, 0, 5230]) | holding(37, [0x8000 | 985, 985])
    assert device(registers, rows).poll() == {
        "currentL1": -5.23,
        "currentL2": 5.23,
        "powerFactorL1": -0.985,
        "powerFactorL2": 0.985,
    }


def test_a_solaredge_with_three_meters_gives_the_values_of_each(device):
    def meter_model(power, exported, imported):
        content = [0x8000] * 105
        content[18 - 2], content[22 - 2] = power % 65536, 0
        content[38 - 2 : 40 - 2] = encode_value(exported, DataType.UINT32)
        content[46 - 2 : 48 - 2] = encode_value(imported, DataType.UINT32)
        content[54 - 2] = 1
        return 203, content

    rows = [
        row
        for copy in (1, 2, 3)
        for row in table(
            f"{REGISTER},scale,scale_register,model,model_copy",
            f"18,activePowerMeter{copy},W,1,3,2,2,,22,203,{copy}",
            f"38,exportMeter{copy},kWh,5,3,2,2,0.001,54,203,{copy}",
            f"46,importMeter{copy},kWh,5,3,2,2,0.001,54,203,{copy}",
        )
    ]
    common = (1, [0] * 65)
    meters = [meter_model(-1500, 1234, 5678), meter_model(700, 0, 42), meter_model(-32768, 0, 1)]
    models = [common, (103, [0] * 50), *(each for model in meters for each in (common, model))]
    registers, _ = sunspec_registers(models)
    # The third has no power; the second and the third have never exported, or cannot count it.
    assert device(registers, rows).poll() == {
        "activePowerMeter1": -1500,
        "exportMeter1": 12.34,
        "importMeter1": 56.78,
        "activePowerMeter2": 700,
        "importMeter2": 0.42,
        "importMeter3": 0.01,
    }


def test_a_smart_meter_whose_registers_hold_32_bits_is_read(device):
    rows = table(f"{REGISTER},scale", "115,activePowerL1,W,5,4,2,2,", "117,activePowerL2,W,2,4,2,2,0.1")
    unit = SimulatedUnit(inputs(115, [1234, 77, -4321 % 2**32]), register_bytes=4)
    meter = device(None, rows, unit=unit, register_bytes=4)
    assert meter.poll() == {"activePowerL1": 1234, "activePowerL2": -432.1}
    assert [(each.address, each.count) for each in meter.gateway.received] == [(115, 3)]


def test_relays_and_inputs_of_a_board_are_0_or_1(device):
    rows = table(
        REGISTER,
        *(f"{relay},relay{relay + 1},,9,1,2,2" for relay in range(10)),
        "3,input4,,9,2,2,2",
        "8,anyFault,,9,3,2,2",
    )
    switched_on = {0, 3, 9}
    registers = {(COILS, relay): int(relay in switched_on) for relay in range(10)}
    registers |= {(2, 3): 1, (HOLDING, 8): 0}
    values = device(registers, rows).poll()
    assert {name for name, value in values.items() if value == 1} == {"relay1", "relay4", "relay10", "input4"}
    assert set(values.values()) == {0.0, 1.0}
    assert len(values) == 12


def test_a_negative_export_counter_is_stored_as_positive(device):
    rows = table(f"{REGISTER},scale,absolute", "37119,exportActiveEnergy,kWh,2,3,2,2,0.01,true")
    assert device(holding(37119, encode_value(-12345, DataType.LONG)), rows).poll() == {"exportActiveEnergy": 123.45}


def test_two_meters_of_one_type_have_different_transformers_one_mounted_backwards(device):
    rows = table(f"{REGISTER},scale,uses_factor", "0,voltageL1,V,4,4,2,2,0.1,", "1,activePower,W,1,4,2,2,,true")
    registers = inputs(0, [2314, 25])
    assert device(registers, rows, factor=40).poll() == {"voltageL1": 231.4, "activePower": 1000}
    assert device(registers, rows, factor=-60).poll() == {"voltageL1": 231.4, "activePower": -1500}


def test_decimal_digits_and_longer_numbers_of_other_devices_are_read(device):
    rows = table(
        f"{REGISTER},scale",
        "0,energyBcd,kWh,15,3,2,2,0.01",
        "2,energyModulo,kWh,16,3,2,2,0.1",
        "4,energy48,kWh,12,3,1,2,0.001",
        "7,energy24,kWh,11,3,2,2,",
    )
    registers = holding(0, [0x0123, 0x4567, 12, 3456, 0x0003, 0x0002, 0x0001, 0xAB01, 0x0203])
    assert device(registers, rows).poll() == {
        "energyBcd": 12345.67,
        "energyModulo": 12345.6,
        "energy48": (2**32 + 2 * 2**16 + 3) / 1000,
        "energy24": 0x010203,
    }


# A value and its scale factor


class Inverter:
    """At 104 a power of ten and at 181 a power, which change together after each reply."""

    def __init__(self, states):
        self.states = list(states)
        self.replies = 0

    def __call__(self, function_code, address):
        raw, exponent = self.states[min(self.replies, len(self.states) - 1)]
        if address == 181:
            return raw
        return exponent % 65536 if address == 104 else 0

    @property
    def unit(self):
        def next_state():
            self.replies += 1
            return True

        return SimulatedUnit(self, waits_for=next_state)


SCALED = table(f"{REGISTER},scale_register", "181,dcPower4,W,4,3,2,2,104")


def test_a_value_and_its_scale_factor_far_away_come_with_one_request(device):
    inverter = Inverter([(6000, -1), (6000, -1), (650, 0)])
    meter = device(None, SCALED, unit=inverter.unit)
    assert meter.poll() == {"dcPower4": 600}
    assert [(each.address, each.count) for each in meter.gateway.received] == [(104, 78)]


def test_where_one_request_cannot_read_both_the_scale_factor_is_read_before_and_after(device):
    meter = device(None, SCALED, unit=Inverter([(6000, -1)]).unit, max_registers_per_request=50)
    assert meter.poll() == {"dcPower4": 600}
    assert [each.address for each in meter.gateway.received] == [104, 181, 104]


def test_a_value_whose_scale_factor_changed_in_the_meantime_is_dropped_and_reported(device):
    inverter = Inverter([(6000, -1), (6000, -1), (650, 0)])
    meter = device(None, SCALED, unit=inverter.unit, max_registers_per_request=50)
    assert meter.poll() == {}
    assert meter.notices == ["left out: dcPower4, since its scale factor changed while it was read"]
    assert meter.poll() == {"dcPower4": 650}


def test_a_value_whose_gap_to_its_scale_factor_is_refused_is_read_from_the_next_poll_on(device):
    registers = {(HOLDING, 104): -1 % 65536, (HOLDING, 181): 6000}
    meter = device(registers, SCALED)
    assert meter.poll() == {}
    assert any("was read at another moment" in notice for notice in meter.notices)
    unsupported = meter.reading().unsupported
    reading = meter.reading(unsupported={1: unsupported})
    decoded = decode_with_notices([reading], meter.fleet.types)
    assert list(decoded.frame["value"]) == [600]


def test_values_before_and_behind_the_scale_factor_that_they_share_are_both_read(device):
    rows = table(f"{REGISTER},scale_register", "10,power,W,4,3,2,2,104", "100,energy,kWh,4,3,2,2,104")
    registers = {(HOLDING, 10): 6000, (HOLDING, 100): 1234, (HOLDING, 104): -1 % 65536}
    registers |= {(HOLDING, address): 0 for address in range(101, 104)}
    meter = device(registers, rows, max_registers_per_request=50)
    assert meter.poll() == {"power": 600, "energy": 123.4}
    assert meter.notices == []


def test_a_scale_factor_that_no_device_has_is_reported_and_its_value_left_out(device):
    meter = device({(HOLDING, 104): 11, (HOLDING, 181): 6000}, SCALED, max_registers_per_request=50)
    assert meter.poll() == {}
    assert meter.notices == ["left out: dcPower4, since its scale factor is 11, not -10 to 10"]


# Labels

LABELS = table(
    f"{REGISTER},length",
    "0,voltageL1,V,4,4,2,2,",
    "100,serialNumber,,17,3,2,2,8",
    "110,firmware,,17,3,2,2,4",
)


def test_a_meters_texts_are_labels_and_not_values(device):
    registers = inputs(0, [230]) | holding(100, [*encode_text("SN-12345 ", 8), 0, 0, *encode_text("1.02", 4)])
    meter = device(registers, LABELS)
    assert meter.poll() == {"voltageL1": 230}
    assert [each.function_code for each in meter.gateway.received] == [INPUT]
    assert meter.reading(labels_known=[1]).labels is None
    reading = meter.reading(labels_known=())
    assert reading.labels == {"serialNumber": "SN-12345", "firmware": "1.02"}
    assert [block.request.function_code for block in reading.blocks] == [INPUT]


@pytest.mark.parametrize("fault", ["refused", "silent"])
def test_labels_that_cannot_be_read_affect_neither_values_nor_failures(device, fault):
    unit = SimulatedUnit(inputs(0, [230]))
    meter = device(None, LABELS, unit=unit, timeout_s=0.2)
    if fault == "silent":
        unit.silent = lambda: meter.gateway.received[-1].function_code == HOLDING
    reading = meter.reading(labels_known=())
    assert reading.failure is None
    assert reading.labels == {}
    assert any("labels of the meter were not read" in notice for notice in reading.notices)
    assert len(decode_with_notices([reading], meter.fleet.types).frame) == 1


def test_labels_of_a_sunspec_device_are_those_of_its_common_model(device):
    rows = table(f"{REGISTER},model,length", "2,manufacturer,,17,3,2,2,1,16", "50,serialNumber,,17,3,2,2,1,16") + table(
        f"{REGISTER},model", "14,activePower,W,1,3,2,2,103"
    )
    common = [*encode_text("Fronius", 16), *[0] * 32, *encode_text("32145678", 16), 0, 0]
    inverter = [0] * 50
    inverter[14 - 2] = 1500
    registers, _ = sunspec_registers([(1, common), (103, inverter)])
    meter = device(registers, rows)
    reading = meter.reading(labels_known=())
    assert reading.labels == {"manufacturer": "Fronius", "serialNumber": "32145678"}
    assert list(decode_with_notices([reading], meter.fleet.types).frame["value"]) == [1500]
