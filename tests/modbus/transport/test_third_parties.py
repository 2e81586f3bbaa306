"""Servers of other projects: every data type in every order is read right, over each transport that they have."""

import time
from itertools import product

import pytest
from support.meters import encode_text, encode_value
from support.third_parties import COILS, DISCRETE_INPUTS, SERVERS, UNIT

from emm_pipeline.event_loop import run_fast
from emm_pipeline.fleet import REGISTER_FUNCTIONS, DataType, EnergyMeter, FunctionCode, MeterType, Order, Register
from emm_pipeline.modbus.decoding import decode_readings
from emm_pipeline.modbus.fleet_reading import Conditions, read_meters

RAW_VALUES = {
    DataType.INT: -12_345,
    DataType.LONG: -123_456_789,
    DataType.FLOAT: 231.5,
    DataType.UINT16: 54_321,
    DataType.UINT32: 3_123_456_789,
    DataType.INT64: -1_234_567_890_123,
    DataType.UINT64: 9_007_199_254_740_992,
    DataType.FLOAT64: -1234.567890123,
    DataType.BOOL: True,
    DataType.SIGN_MAGNITUDE: -100,
    DataType.UINT24: 12_345_678,
    DataType.UINT48: 123_456_789_012_345,
    DataType.INT48: -98_765_432_109,
    DataType.BCD4: 9876,
    DataType.BCD8: 98_765_432,
    DataType.MODULO_10000: 12_345_678,
}
"""A value of each type that is a number. Registers of four bytes are not among them: none of the servers has them."""

TEXT = "EM-4711/ü"
LENGTH = 6
"""A label, and its registers: one of them is empty."""

BITS = {FunctionCode.READ_COILS: COILS, FunctionCode.READ_DISCRETE_INPUTS: DISCRETE_INPUTS}


def encode_label(word_order, byte_order):
    words = encode_text(TEXT, LENGTH)
    if byte_order is Order.LITTLE_ENDIAN:
        words = [word >> 8 | (word & 0xFF) << 8 for word in words]
    return words if word_order is Order.BIG_ENDIAN else words[::-1]


def everything():
    """A type with every data type, order and function code; the words of its registers; the values; and the labels."""
    registers, values, words, labels = [], {}, [], {}
    for function_code in REGISTER_FUNCTIONS:
        half = []
        for data_type, word_order, byte_order in product(RAW_VALUES, Order, Order):
            name = f"{data_type.name} {word_order.name} {byte_order.name} {function_code.name}"
            registers.append(Register(len(half), name, None, data_type, function_code, word_order, byte_order))
            half += encode_value(RAW_VALUES[data_type], data_type, word_order, byte_order)
            values[name] = float(RAW_VALUES[data_type])
        for orders in product(Order, Order):
            name = f"text {orders[0].name} {orders[1].name} {function_code.name}"
            registers.append(Register(len(half), name, None, DataType.STRING, function_code, *orders, length=LENGTH))
            half += encode_label(*orders)
            labels[name] = TEXT
        words += half
    for function_code, bits in BITS.items():
        for address, bit in enumerate(bits):
            name = f"{function_code.name} {address}"
            registers.append(Register(address, name, None, DataType.BOOL, function_code))
            values[name] = float(bit)
    return MeterType("everything", tuple(registers), timeout_s=10.0), words, values, labels


def test_every_data_type_is_tested():
    assert {*RAW_VALUES, DataType.STRING} == set(DataType)


@pytest.mark.parametrize("serve", SERVERS.values(), ids=SERVERS)
def test_all_types_in_all_orders_are_read_correctly_from_a_server_of_another_project(serve, tmp_path):
    meter_type, words, values, labels = everything()
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
            conditions = Conditions(labels_known=())
            reading_ = read_meters([meter], types, deadline=time.monotonic() + 100, conditions=conditions)
            [reading] = run_fast(reading_)
            assert reading.failure is None
            frame = decode_readings([reading], types)
            assert dict(zip(frame["measurement"], frame["value"], strict=True)) == values
            assert reading.labels == labels
            assert reading.notices == ()
