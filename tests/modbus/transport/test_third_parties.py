"""Servers of other projects: every data type in every order is read right, over each transport that they have."""

import time
from itertools import product

import pytest
from support.meters import encode_value
from support.third_parties import SERVERS, UNIT

from emm_pipeline.event_loop import run_fast
from emm_pipeline.fleet import REGISTER_FUNCTIONS, DataType, EnergyMeter, MeterType, Order, Register
from emm_pipeline.modbus.decoding import decode_readings
from emm_pipeline.modbus.fleet_reading import read_meters

RAW_VALUES = {
    DataType.INT: -12_345,
    DataType.LONG: -123_456_789,
    DataType.FLOAT: 231.5,
    DataType.UINT16: 54_321,
    DataType.UINT32: 3_123_456_789,
    DataType.INT64: -1_234_567_890_123,
    DataType.UINT64: 9_007_199_254_740_992,
    DataType.FLOAT64: -1234.567890123,
}


def everything():
    """A type with every data type, order and function code; the words of its registers; and the values."""
    registers, values, words = [], {}, []
    for function_code in REGISTER_FUNCTIONS:
        half = []
        for data_type, word_order, byte_order in product(RAW_VALUES, Order, Order):
            name = f"{data_type.name} {word_order.name} {byte_order.name} {function_code.name}"
            registers.append(Register(len(half), name, None, data_type, function_code, word_order, byte_order))
            half += encode_value(RAW_VALUES[data_type], data_type, word_order, byte_order)
            values[name] = float(RAW_VALUES[data_type])
        words += half
    return MeterType("everything", tuple(registers), timeout_s=10.0), words, values


@pytest.mark.parametrize("serve", SERVERS.values(), ids=SERVERS)
def test_all_types_in_all_orders_are_read_correctly_from_a_server_of_another_project(serve, tmp_path):
    meter_type, words, values = everything()
    with serve(words, tmp_path) as gateway:
        meter = EnergyMeter(
            1,
            gateway.host,
            gateway.port,
            UNIT,
            "everything",
            transport=gateway.transport,
            serial_settings=gateway.serial_settings,
        )
        types = {"everything": meter_type}
        for _ in range(2):
            [reading] = run_fast(read_meters([meter], types, deadline=time.monotonic() + 100))
            assert reading.failure is None
            frame = decode_readings([reading], types)
            assert dict(zip(frame["measurement"], frame["value"], strict=True)) == values
            assert reading.notices == ()
