"""Registers with other contents than plain numbers, compared with a decoder that shares nothing with ours.

The other decoder takes one value at a time, in Python's integers and fractions.
"""

import math
import struct
from datetime import UTC, datetime
from fractions import Fraction

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
from emm_pipeline.modbus.decoding import decode_readings, decode_value, decode_with_notices
from emm_pipeline.modbus.planning import plan_requests
from emm_pipeline.readings import MeterReading, RegisterBlock, Request

HOLDING = FunctionCode.READ_HOLDING_REGISTERS
BIG, LITTLE = Order.BIG_ENDIAN, Order.LITTLE_ENDIAN
NOON = datetime(2026, 3, 29, 12, tzinfo=UTC)
INTEGERS = [each for each in DataType if each not in {DataType.FLOAT, DataType.FLOAT64, DataType.STRING}]
WORDS = {
    **dict.fromkeys([DataType.INT, DataType.UINT16, DataType.BOOL, DataType.SIGN_MAGNITUDE, DataType.BCD4], 1),
    **dict.fromkeys([DataType.LONG, DataType.UINT32, DataType.UINT24, DataType.BCD8, DataType.MODULO_10000], 2),
    **dict.fromkeys([DataType.UINT48, DataType.INT48], 3),
    **dict.fromkeys([DataType.INT64, DataType.UINT64], 4),
}
SIGNED = {DataType.INT: 16, DataType.LONG: 32, DataType.INT48: 48, DataType.INT64: 64}


def blocks(words, address=0):
    return (RegisterBlock(Request(HOLDING, address, len(words)), struct.pack(f">{len(words)}H", *words)),)


def decode(registers, words, factor=1.0, combined=()):
    """Measurement to value, of a meter whose registers from 0 on hold these words."""
    meter_type = MeterType("t", tuple(registers), combined=tuple(combined))
    meter = EnergyMeter(1, "h", 502, 1, "t", factor=factor)
    frame = decode_readings([MeterReading(meter, NOON, blocks(words))], {"t": meter_type})
    return dict(zip(frame["measurement"], frame["value"], strict=True))


def number_in(bits, data_type):  # noqa: PLR0911 - a line for each type
    """Return the number that the bits of a value are; None if they are not a number."""
    if data_type in SIGNED:
        width = SIGNED[data_type]
        return bits - (1 << width) if bits >> (width - 1) else bits
    match data_type:
        case DataType.BOOL:
            return int(bits != 0)
        case DataType.SIGN_MAGNITUDE:
            return -(bits & 0x7FFF) if bits & 0x8000 else bits
        case DataType.UINT24:
            return bits % 2**24
        case DataType.BCD4 | DataType.BCD8:
            digits = f"{bits:x}"
            return int(digits) if digits.isdecimal() else None
        case DataType.MODULO_10000:
            high, low = divmod(bits, 65536)
            return None if max(high, low) > 9999 else 10_000 * high + low
        case _:
            return bits


def halves(value, data_type, word_order, byte_order):
    """The registers of a value's bits, in the order of the addresses."""
    words = [value >> 16 * place & 0xFFFF for place in range(WORDS[data_type])]
    if word_order is BIG:
        words.reverse()
    return [word if byte_order is BIG else (word & 0xFF) << 8 | word >> 8 for word in words]


def expected(number, scale, offset, exponent=0, **how):
    """The value as exact arithmetic has it."""
    value = number * scale * Fraction(10) ** exponent + offset
    value = abs(value) if how.get("absolute") else value
    value = -abs(value) if how.get("negative") else value
    return float(value * how.get("factor", 1))


DECIMALS = st.builds(lambda digits, places: Fraction(digits, 10**places), st.integers(-9999, 9999), st.integers(0, 4))
SCALES = DECIMALS.filter(bool)


@pytest.mark.parametrize("data_type", INTEGERS)
@settings(deadline=None)
@given(data=st.data(), orders=st.tuples(st.sampled_from(Order), st.sampled_from(Order)))
def test_every_pattern_of_every_integer_type_is_the_number_that_it_should_be(data, data_type, orders):
    bits = data.draw(st.integers(0, 2 ** (16 * WORDS[data_type]) - 1))
    word_order, byte_order = orders
    register = Register(0, "power", "W", data_type, HOLDING, word_order, byte_order)
    number = number_in(bits, data_type)
    value = decode([register], halves(bits, data_type, word_order, byte_order)).get("power")
    assert value == (None if number is None else float(number))


@pytest.mark.parametrize("data_type", [DataType.SIGN_MAGNITUDE, DataType.BCD4, DataType.BCD8, DataType.MODULO_10000])
@settings(deadline=None)
@given(data=st.data())
def test_a_number_written_in_digits_or_with_a_sign_bit_comes_back(data, data_type):
    ranges = {DataType.SIGN_MAGNITUDE: (-32767, 32767), DataType.BCD4: (0, 9999)}
    number = data.draw(st.integers(*ranges.get(data_type, (0, 99_999_999))))
    assert decode([Register(0, "power", "W", data_type, HOLDING)], encode_value(number, data_type)) == {"power": number}


@settings(deadline=None)
@given(
    data_type=st.sampled_from(INTEGERS),
    data=st.data(),
    scale=SCALES,
    offset=DECIMALS,
    exponent=st.none() | st.integers(-10, 10),
    absolute=st.booleans(),
    sign=st.none() | st.tuples(st.integers(1, 0xFFFF), st.integers(0, 0xFFFF)),
    factor=st.none() | SCALES,
    has_mask=st.booleans(),
)
def test_scale_offset_mask_sign_and_factor_together_give_the_exact_value(  # noqa: PLR0913, PLR0917
    data_type, data, scale, offset, exponent, absolute, sign, factor, has_mask
):
    bits = data.draw(st.integers(0, 2 ** (16 * WORDS[data_type]) - 1))
    mask = data.draw(st.integers(1, min(2 ** (16 * WORDS[data_type]) - 1, 2**63 - 1))) if has_mask else None
    masked = bits if mask is None else (bits & mask) // (mask & -mask)
    number = number_in(masked, data_type)
    register = Register(
        *(2, "power", "W", data_type, HOLDING),
        scale=float(scale),
        value_offset=float(offset),
        mask=mask,
        absolute=absolute,
        scale_register=None if exponent is None else 0,
        sign_register=None if sign is None else 1,
        sign_mask=None if sign is None else sign[0],
        uses_factor=factor is not None,
    )
    words = [(exponent or 0) % 65536, sign[1] if sign else 0, *halves(bits, data_type, BIG, BIG)]
    value = decode([register], words, float(factor or 1)).get("power")
    if number is None:
        assert value is None
        return
    negative = bool(sign and sign[0] & sign[1])
    right = expected(
        number, scale, offset, exponent or 0, absolute=absolute, negative=negative, factor=factor or Fraction(1)
    )
    # Numbers of up to 2 ** 53 on the way are exact, and with them the result; larger ones are rounded on the way.
    largest = abs(number * scale.numerator * 10 ** abs(exponent or 0) * (factor or Fraction(1)).numerator)
    largest += abs(offset.numerator * 10**14 * (factor or Fraction(1)).numerator)
    if largest < 2**50:
        assert value == right
    else:
        assert value == pytest.approx(right, rel=1e-12, abs=1e-6)


@pytest.mark.parametrize(
    ("register", "words", "value"),
    [
        (Register(0, "t", "°C", DataType.UINT16, HOLDING, scale=0.1, value_offset=-100.0), [1234], 23.4),
        (Register(0, "u", "V", DataType.INT, HOLDING, scale=0.1), [2314], 231.4),
        (Register(0, "p", "W", DataType.UINT16, HOLDING, value_offset=-16384.0), [16384], 0.0),
        (Register(0, "p", "W", DataType.INT, HOLDING, scale=0.001, scale_register=1), [2314, 0xFFFF], 0.2314),
        (Register(0, "state", None, DataType.UINT16, HOLDING, mask=0x0F00), [0x1A34], 10),
        (Register(0, "fault", None, DataType.BOOL, HOLDING, mask=0x0400), [0x0400], 1),
        (Register(0, "fault", None, DataType.BOOL, HOLDING, mask=0x0400), [0xFBFF], 0),
        (Register(0, "e", "kWh", DataType.LONG, HOLDING, absolute=True, scale=0.1), [0xFFFF, 0xFF9C], 10.0),
    ],
)
def test_values_known_beforehand(register, words, value):
    assert decode([register], words) == {register.measurement_name: value}


@pytest.mark.parametrize("words", [[0x7FFF], [0xFFFF]])
def test_each_of_several_invalid_values_is_no_reading(words):
    register = Register(0, "power", "W", DataType.INT, HOLDING, invalid_values=(0x7FFF, 0xFFFF))
    assert decode([register], words) == {}
    assert decode([register], [100]) == {"power": 100}


def test_an_invalid_value_is_compared_before_the_mask():
    register = Register(0, "state", None, DataType.UINT16, HOLDING, mask=0x000F, invalid_value=0xFFFF)
    assert decode([register], [0xFFFF]) == {}
    assert decode([register], [0x000F]) == {"state": 15}


@settings(deadline=None)
@given(
    value=st.integers(-(2**31), 2**31 - 1),
    word_order=st.sampled_from(Order),
    byte_order=st.sampled_from(Order),
    high_first=st.booleans(),
)
def test_halves_that_are_apart_are_one_number(value, word_order, byte_order, high_first):
    high, low = encode_value(value, DataType.LONG, BIG, byte_order)
    words = [high, 9, low] if high_first else [low, 9, high]
    addresses = (2, 0) if high_first else (0, 2)
    register = Register(
        *(addresses[0], "power", "W", DataType.LONG, HOLDING, word_order, byte_order),
        high_register_address=addresses[1],
    )
    assert decode([register], words) == {"power": value}


@settings(deadline=None)
@given(value=st.integers(0, 2**64 - 1), word_order=st.sampled_from(Order))
def test_halves_of_64_bits_that_are_apart_are_one_number(value, word_order):
    high = encode_value(value >> 32, DataType.UINT32, word_order)
    low = encode_value(value & 0xFFFF_FFFF, DataType.UINT32, word_order)
    register = Register(10, "e", "Wh", DataType.UINT64, HOLDING, word_order, high_register_address=0)
    assert decode([register], [*high, *[7] * 8, *low]) == {"e": float(value)}


@pytest.mark.parametrize(
    ("data_type", "data", "value"),
    [
        (DataType.UINT32, "000004D2", 1234),
        (DataType.UINT16, "000004D2", 1234),
        (DataType.INT, "FFFFFFFE", -2),
        (DataType.LONG, "FFFFFFFE", -2),
        (DataType.FLOAT, "43676666", pytest.approx(231.4, rel=1e-7)),
        (DataType.INT64, "FFFFFFFFFFFFFF9C", -100),
        (DataType.UINT48, "0000000200000001", 2 * 2**32 + 1),
    ],
)
def test_a_register_of_four_bytes_holds_what_two_registers_hold_elsewhere(data_type, data, value):
    register = Register(115, "power", "W", data_type, HOLDING, register_bytes=4)
    (request,) = plan_requests(MeterType("t", (register,), register_bytes=4))
    assert (request.address, request.count, request.reply_size) == (115, len(data) // 8, len(data) // 2)
    reading = MeterReading(EnergyMeter(1, "h", 502, 1, "t"), NOON, (RegisterBlock(request, bytes.fromhex(data)),))
    frame = decode_readings([reading], {"t": MeterType("t", (register,), register_bytes=4)})
    assert list(frame["value"]) == [value]


def test_registers_of_four_bytes_in_the_other_order_of_registers_and_of_bytes():
    both = Register(0, "e", "Wh", DataType.UINT64, HOLDING, LITTLE, register_bytes=4)
    assert decode_value([0x0000, 0x0001, 0x0000, 0x0002], both) == 2 * 2**32 + 1
    swapped = Register(0, "e", "Wh", DataType.UINT32, HOLDING, BIG, LITTLE, register_bytes=4)
    assert decode_value([0x0100, 0x0000], swapped) == 1


# Sums

GRID = CombinedMeasurement("gridPower", "W", (Part("import"), Part("export", -1.0)))


def power(name, address, **columns):
    return Register(address, name, "W", DataType.UINT16, HOLDING, **columns)


def test_a_sum_is_stored_beside_its_parts_or_without_them():
    assert decode([power("import", 0), power("export", 1)], [500, 120], combined=[GRID]) == {
        "import": 500,
        "export": 120,
        "gridPower": 380,
    }
    hidden = [power("import", 0, stored=False), power("export", 1, stored=False)]
    assert decode(hidden, [500, 120], combined=[GRID]) == {"gridPower": 380}


@settings(deadline=None)
@given(
    parts=st.lists(
        st.tuples(
            st.integers(-(2**31), 2**31 - 1), SCALES, st.sampled_from([1, -1, Fraction(1, 2), Fraction(1, 10), 65536])
        ),
        min_size=1,
        max_size=6,
    )
)
def test_a_sum_is_exact_where_the_decimal_value_is(parts):
    registers = [
        Register(2 * place, f"part{place}", "kWh", DataType.LONG, HOLDING, scale=float(scale), stored=False)
        for place, (_, scale, _) in enumerate(parts)
    ]
    combined = CombinedMeasurement(
        "total", "kWh", tuple(Part(f"part{place}", float(factor)) for place, (_, _, factor) in enumerate(parts))
    )
    words = [word for raw, _, _ in parts for word in encode_value(raw, DataType.LONG)]
    total = decode(registers, words, combined=[combined])["total"]
    exact = sum(raw * scale * factor for raw, scale, factor in parts)
    size = sum(abs(raw * scale * factor) for raw, scale, factor in parts)
    steps = math.lcm(*(scale.denominator * Fraction(factor).denominator for _, scale, factor in parts))
    if size * steps < 2**49:
        assert total == float(exact)
    else:
        assert total == pytest.approx(float(exact), rel=1e-9, abs=float(size) * 1e-12)


def test_deyes_import_is_exact_over_two_registers_of_different_scale():
    registers = [
        Register(78, "low", "kWh", DataType.UINT16, HOLDING, scale=0.1, stored=False),
        Register(80, "high", "kWh", DataType.UINT16, HOLDING, scale=6553.6, stored=False),
    ]
    combined = CombinedMeasurement("importActiveEnergy", "kWh", (Part("low"), Part("high")))
    meter_type = MeterType("t", tuple(registers), combined=(combined,))
    reading = MeterReading(EnergyMeter(1, "h", 502, 1, "t"), NOON, blocks([1234, 5000, 3], 78))
    assert list(decode_readings([reading], {"t": meter_type})["value"]) == [19784.2]


@pytest.mark.parametrize("absent", ["the register is not there", "the device has no value"])
def test_a_sum_without_one_of_its_parts_is_absent_with_the_reason_and_never_0(absent):
    registers = (power("import", 0), power("export", 1, invalid_value=65535))
    words = [500] if absent == "the register is not there" else [500, 65535]
    meter_type = MeterType("t", registers, combined=(GRID,))
    decoded = decode_with_notices(
        [MeterReading(EnergyMeter(7, "h", 502, 1, "t"), NOON, blocks(words))], {"t": meter_type}
    )
    assert list(decoded.frame["measurement"]) == ["import"]
    (notice,) = decoded.notices[7]
    assert notice.startswith("left out: gridPower, since ")
    assert "part export" in notice


def test_an_optional_part_may_be_absent_but_not_all_of_them():
    strings = CombinedMeasurement("dcPower", "W", (Part("dc1", optional=True), Part("dc2", optional=True)))
    registers = [power("dc1", 0, invalid_value=65535), power("dc2", 1, invalid_value=65535)]
    assert decode(registers, [300, 65535], combined=[strings])["dcPower"] == 300
    assert "dcPower" not in decode(registers, [65535, 65535], combined=[strings])


def test_a_sum_of_values_with_their_own_powers_of_ten_is_exact():
    registers = [
        power("import", 0, scale_register=2, stored=False),
        power("export", 1, scale_register=3, stored=False),
    ]
    words = [2314, 15, -1 % 65536, -2 % 65536]
    assert decode(registers, words, combined=[GRID]) == {"gridPower": 231.25}


@settings(deadline=None)
@given(factor=SCALES, raw=st.integers(-32768, 32767), raws=st.lists(st.integers(0, 65535), min_size=2, max_size=2))
def test_the_meters_factor_applies_to_the_registers_that_use_it_and_to_their_sums(factor, raw, raws):
    registers = [
        Register(0, "voltage", "V", DataType.INT, HOLDING, scale=0.1),
        power("import", 1, uses_factor=True),
        power("export", 2, uses_factor=True),
    ]
    values = decode(registers, [raw % 65536, *raws], float(factor), [GRID])
    assert values["voltage"] == raw / 10
    assert values["import"] == float(raws[0] * factor)
    assert values["gridPower"] == pytest.approx(float((raws[0] - raws[1]) * factor), rel=1e-12)


def test_meters_of_one_type_with_different_factors_are_decoded_together():
    meter_type = MeterType("t", (power("import", 0, uses_factor=True, scale=0.1),))
    readings = [
        MeterReading(EnergyMeter(id_, "h", 502, 1, "t", factor=factor), NOON, blocks([2314]))
        for id_, factor in enumerate([1.0, -1.0, 40.0, 0.5])
    ]
    assert list(decode_readings(readings, {"t": meter_type})["value"]) == [231.4, -231.4, 9256.0, 115.7]


def test_a_scale_factor_that_no_device_has_is_reported_and_its_value_left_out():
    register = power("import", 0, scale_register=1)
    meter_type = MeterType("t", (register,))
    for exponent, told in [(11, True), (-11, True), (10, False), (-0x8000, False)]:
        reading = MeterReading(EnergyMeter(7, "h", 502, 1, "t"), NOON, blocks([5, exponent % 65536]))
        decoded = decode_with_notices([reading], {"t": meter_type})
        line = f"left out: import, since its scale factor is {exponent}, not -10 to 10"
        assert decoded.notices == ({7: (line,)} if told else {})
        assert len(decoded.frame) == (exponent == 10)


@settings(deadline=None)
@given(st.integers(0, 2**16 - 1), st.integers(1, 2**16 - 1))
def test_a_bit_is_set_or_not(word, mask):
    register = Register(0, "relay", None, DataType.BOOL, HOLDING, mask=mask)
    assert decode([register], [word]) == {"relay": int(word & mask != 0)}
