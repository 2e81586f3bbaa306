"""Values that mean "no reading", texts, bits and registers of four bytes, compared with another decoder.

The other decoder works on hexadecimal digits and on texts, and shares nothing with ours.
"""

import struct
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.meters import encode_value

from emm_pipeline.fleet import (
    CombinedMeasurement,
    DataType,
    EnergyMeter,
    FunctionCode,
    MeterType,
    Order,
    Part,
    Register,
)
from emm_pipeline.modbus.decoding import decode_readings
from emm_pipeline.modbus.labels import decode_labels
from emm_pipeline.modbus.session import bits_as_words
from emm_pipeline.modbus.sunspec.models import locate
from emm_pipeline.readings import MeterReading, RegisterBlock, Request

HOLDING = FunctionCode.READ_HOLDING_REGISTERS
BIG, LITTLE = Order.BIG_ENDIAN, Order.LITTLE_ENDIAN
NOON = datetime(2026, 3, 29, 12, tzinfo=UTC)
DIGITS = {DataType.INT: 4, DataType.UINT16: 4, DataType.LONG: 8, DataType.UINT32: 8, DataType.INT64: 16}
DIGITS |= {DataType.UINT64: 16, DataType.UINT48: 12, DataType.INT48: 12, DataType.SIGN_MAGNITUDE: 4, DataType.BCD8: 8}
SIGNED = {DataType.INT, DataType.LONG, DataType.INT64, DataType.INT48}


def values(registers, data, register_bytes=2, factor=1.0, combined=()):
    meter_type = MeterType("t", tuple(registers), register_bytes=register_bytes, combined=combined)
    request = Request(HOLDING, 0, len(data) // register_bytes, register_bytes)
    meter = EnergyMeter(1, "h", 502, 1, "t", factor=factor)
    frame = decode_readings([MeterReading(meter, NOON, (RegisterBlock(request, data),))], {"t": meter_type})
    return dict(zip(frame["measurement"], frame["value"], strict=True))


@pytest.mark.parametrize("data_type", DIGITS)
@settings(deadline=None)
@given(data=st.data())
def test_a_value_is_absent_if_and_only_if_its_registers_hold_one_of_the_invalid_values(data, data_type):
    digits = DIGITS[data_type]
    alphabet = "0123456789" if data_type is DataType.BCD8 else "0123456789abcdef"
    patterns = st.text(alphabet, min_size=digits, max_size=digits)
    invalid = data.draw(st.lists(patterns, min_size=1, max_size=3))
    sent = data.draw(st.sampled_from(invalid) | patterns)
    numbers = [int(each, 16) for each in invalid]
    if data_type in SIGNED:  # as manuals write them: as a number, or as its bit pattern
        numbers = [
            number - (1 << 4 * digits) if number >> 4 * digits - 1 and data.draw(st.booleans()) else number
            for number in numbers
        ]
    register = Register(
        *(0, "power", "W", data_type, HOLDING), invalid_value=numbers[0], invalid_values=tuple(numbers[1:])
    )
    assert (not values([register], bytes.fromhex(sent))) is (sent in invalid)


@settings(deadline=None)
@given(sent=st.floats(width=32, allow_nan=False), other=st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float_may_have_invalid_values_too(sent, other):
    register = Register(0, "power", "W", DataType.FLOAT, HOLDING, invalid_values=(other,))
    found = values([register], struct.pack(">f", sent))
    assert found == ({} if sent == other or abs(sent) == float("inf") else {"power": sent})


@settings(deadline=None)
@given(
    characters=st.text(st.characters(codec="utf-8", categories=("L", "N")), max_size=10),
    spaces=st.integers(0, 3),
    length=st.integers(1, 30),
    byte_order=st.sampled_from(Order),
    word_order=st.sampled_from(Order),
    register_bytes=st.sampled_from([2, 4]),
)
def test_a_text_comes_back_whatever_the_order_of_its_bytes_and_registers(  # noqa: PLR0913, PLR0917
    characters, spaces, length, byte_order, word_order, register_bytes
):
    raw = (" " * spaces + characters).encode()
    length = max(length, -(-len(raw) // register_bytes))
    raw = raw.ljust(length * register_bytes, b"\0")
    each = [raw[place : place + register_bytes] for place in range(0, len(raw), register_bytes)]
    each = [one if byte_order is BIG else bytes(reversed(one)) for one in each]
    data = b"".join(each if word_order is BIG else reversed(each))
    register = Register(
        *(100, "serialNumber", None, DataType.STRING, HOLDING, word_order, byte_order),
        length=length,
        register_bytes=register_bytes,
    )
    block = RegisterBlock(Request(HOLDING, 100, length, register_bytes), data)
    assert decode_labels([register], [block]) == ({"serialNumber": characters} if characters else {})


@pytest.mark.parametrize("data_type", [each for each in DIGITS if each is not DataType.BCD8])
@settings(deadline=None)
@given(data=st.data(), byte_order=st.sampled_from(Order), word_order=st.sampled_from(Order))
def test_every_number_in_registers_of_four_bytes_comes_back(data, data_type, byte_order, word_order):
    digits = DIGITS[data_type]
    sent = data.draw(st.text("0123456789abcdef", min_size=digits, max_size=digits))
    number = int(sent, 16)
    if data_type in SIGNED and number >> 4 * digits - 1:
        number -= 1 << 4 * digits
    if data_type is DataType.SIGN_MAGNITUDE and number >> 15:
        number = -(number & 0x7FFF)
    registers = -(-digits // 8)
    padded = bytes.fromhex(sent.rjust(8 * registers, "0"))
    each = [padded[place : place + 4] for place in range(0, len(padded), 4)]
    each = [one if byte_order is BIG else bytes(reversed(one)) for one in each]
    content = b"".join(each if word_order is BIG else reversed(each))
    register = Register(0, "power", "W", data_type, HOLDING, word_order, byte_order, register_bytes=4)
    assert values([register], content, 4) == {"power": float(number)}


@given(bits=st.lists(st.booleans(), min_size=1, max_size=200), surplus=st.booleans())
def test_each_bit_of_a_reply_is_a_word_in_the_order_of_the_addresses(bits, surplus):
    padded = bits + [surplus] * (-len(bits) % 8)
    data = bytes(int("".join("01"[bit] for bit in reversed(padded[at : at + 8])), 2) for at in range(0, len(padded), 8))
    assert bits_as_words(data, len(bits)) == b"".join(bytes([0, bit]) for bit in bits)


NOT_IMPLEMENTED = [
    (DataType.INT, "A", "8000"),
    (DataType.UINT16, "A", "ffff"),
    (DataType.LONG, "var", "80000000"),
    (DataType.UINT32, "W", "ffffffff"),
    (DataType.UINT32, "Wh", "00000000"),
    (DataType.INT64, "var", "8000000000000000"),
    (DataType.UINT64, "W", "ffffffffffffffff"),
    (DataType.UINT64, "varh", "0000000000000000"),
    (DataType.FLOAT, "W", "7fc00000"),
    (DataType.FLOAT64, "W", "7ff8000000000000"),
]


@pytest.mark.parametrize(("data_type", "unit", "pattern"), NOT_IMPLEMENTED)
def test_sunspecs_not_implemented_of_each_type_is_absent_and_its_neighbour_is_not(data_type, unit, pattern):
    register = Register(2, "value", unit, data_type, HOLDING, model=203)
    located = locate(MeterType("t", (register,)), {203: 0})
    assert values(located.registers, b"\0\xcb\0\4" + bytes.fromhex(pattern)) == {}
    if data_type not in {DataType.FLOAT, DataType.FLOAT64}:
        other = bytes.fromhex(f"{int(pattern, 16) ^ 1:0{len(pattern)}x}")
        assert "value" in values(located.registers, b"\0\xcb\0\4" + other)


@settings(deadline=None)
@given(raws=st.lists(st.integers(0, 2**32 - 1), min_size=2, max_size=3))
def test_a_sum_of_values_whose_scale_no_short_decimal_number_is_keeps_its_fraction(raws):
    scale = 6.781694e-11 * 1e6
    registers = [
        Register(2 * place, f"part{place}", "kWh", DataType.UINT32, HOLDING, scale=scale) for place in range(len(raws))
    ]
    combined = CombinedMeasurement("total", "kWh", tuple(Part(each.measurement_name) for each in registers))
    data = b"".join(struct.pack(">I", raw) for raw in raws)
    assert values(registers, data, combined=(combined,))["total"] == pytest.approx(sum(raws) * scale, rel=1e-12)


@pytest.mark.parametrize("scale", [6.781694e-11, 0.30000000000000004, 1e-30])
def test_a_sum_is_not_rounded_to_whole_numbers(scale):
    registers = [Register(0, "a", "kWh", DataType.UINT64, HOLDING, scale=scale)]
    combined = CombinedMeasurement("total", "kWh", (Part("a"),))
    raw = round(2.5 / scale) if scale < 1e-5 else 5
    data = b"".join(word.to_bytes(2, "big") for word in encode_value(min(raw, 2**64 - 1), DataType.UINT64))
    found = values(registers, data, combined=(combined,))
    assert found["total"] == found["a"] != round(found["a"])


@pytest.mark.parametrize("factor", [2 / 3, 0.30000000000000004, -2 / 3])
def test_a_sum_of_values_with_a_factor_that_no_short_decimal_number_is_keeps_its_fraction(factor):
    registers = [
        Register(place, name, "W", DataType.UINT16, HOLDING, uses_factor=True)
        for place, name in enumerate(("import", "export"))
    ]
    grid = CombinedMeasurement("gridPower", "W", (Part("import"), Part("export", -1.0)))
    found = values(registers, struct.pack(">HH", 500, 123), factor=factor, combined=(grid,))
    assert found["gridPower"] == pytest.approx(377 * factor, rel=1e-12)
