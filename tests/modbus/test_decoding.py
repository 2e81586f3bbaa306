import math
import struct
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.meters import encode_value

from emm_pipeline.fleet import DataType, EnergyMeter, FunctionCode, MeterType, Order, Register
from emm_pipeline.modbus.decoding import decode_readings
from emm_pipeline.readings import READING_COLUMNS, MeterReading, RegisterBlock, Request

HOLDING, INPUT = FunctionCode.READ_HOLDING_REGISTERS, FunctionCode.READ_INPUT_REGISTERS
BIG, LITTLE = Order.BIG_ENDIAN, Order.LITTLE_ENDIAN
NOON = datetime(2026, 3, 29, 12, 0, 0, 123_000, tzinfo=UTC)

RAW_VALUES = {
    DataType.INT: st.integers(-(2**15), 2**15 - 1),
    DataType.LONG: st.integers(-(2**31), 2**31 - 1),
    DataType.FLOAT: st.floats(allow_nan=False, allow_infinity=False, width=32),
    DataType.UINT16: st.integers(0, 2**16 - 1),
    DataType.UINT32: st.integers(0, 2**32 - 1),
    DataType.INT64: st.integers(-(2**63), 2**63 - 1),
    DataType.UINT64: st.integers(0, 2**64 - 1),
    DataType.FLOAT64: st.floats(allow_nan=False, allow_infinity=False),
}


def register(data_type=DataType.INT, *, address=0, name="power", function_code=HOLDING, **columns):
    return Register(address, name, columns.pop("data_unit", "W"), data_type, function_code, **columns)


def block(address, words, function_code=HOLDING):
    return RegisterBlock(Request(function_code, address, len(words)), struct.pack(f">{len(words)}H", *words))


def sample(*blocks, meter_id=1, type_name="t", description=None, time=NOON):
    return MeterReading(EnergyMeter(meter_id, "127.0.0.1", 502, 1, type_name, description), time, blocks)


def decode(registers, *blocks):
    """Return the values of one meter by measurement."""
    frame = decode_readings([sample(*blocks)], {"t": MeterType("t", tuple(registers))})
    return dict(zip(frame["measurement"], frame["value"], strict=True))


def decoded_value(words, data_type, **columns):
    """Return the value of a single register; None if it is absent."""
    return decode([register(data_type, **columns)], block(0, words)).get("power")


@pytest.mark.parametrize("byte_order", Order)
@pytest.mark.parametrize("word_order", Order)
@pytest.mark.parametrize("data_type", RAW_VALUES)
@settings(deadline=None)  # a busy machine must not fail a test
@given(data=st.data())
def test_every_type_in_every_order_decodes_to_the_value_that_was_encoded(data, data_type, word_order, byte_order):
    value = data.draw(RAW_VALUES[data_type])
    words = encode_value(value, data_type, word_order, byte_order)
    assert decoded_value(words, data_type, word_order=word_order, byte_order=byte_order) == float(value)


@pytest.mark.parametrize(
    ("word_order", "byte_order", "words"),
    [
        (BIG, BIG, [0x4367, 0x6666]),
        (LITTLE, BIG, [0x6666, 0x4367]),
        (BIG, LITTLE, [0x6743, 0x6666]),
        (LITTLE, LITTLE, [0x6666, 0x6743]),
    ],
    ids=["ABCD", "CDAB", "BADC", "DCBA"],
)
def test_231_4_volts_are_231_4_volts_in_each_of_the_four_orders(word_order, byte_order, words):
    value = decoded_value(words, DataType.FLOAT, word_order=word_order, byte_order=byte_order)
    assert value == pytest.approx(231.4, rel=1e-7)


def test_a_word_swapped_64_bit_value_reverses_all_four_words():
    assert decoded_value([4, 3, 2, 1], DataType.UINT64, word_order=LITTLE) == 0x0001_0002_0003_0004


@pytest.mark.parametrize("word_order", Order)
def test_for_16_bit_values_only_the_byte_order_matters(word_order):
    assert decoded_value([0x0102], DataType.UINT16, word_order=word_order, byte_order=LITTLE) == 0x0201


@pytest.mark.parametrize(
    ("raw", "scale", "value"),
    [(2314, 0.1, 231.4), (3, 0.1, 0.3), (-7, 0.01, -0.07), (1234, 0.001, 1.234), (3, -0.1, -0.3), (3, 0.2, 0.6)],
)
def test_a_decimal_scale_gives_the_decimal_number_that_a_person_would_write(raw, scale, value):
    assert decoded_value(encode_value(raw, DataType.INT), DataType.INT, scale=scale) == value


@settings(deadline=None)  # a busy machine must not fail a test
@given(raw=RAW_VALUES[DataType.LONG], digits=st.integers(0, 9))
def test_scaling_by_a_power_of_ten_is_exact_for_every_raw_value(raw, digits):
    value = decoded_value(encode_value(raw, DataType.LONG), DataType.LONG, scale=float(f"1e-{digits}"))
    assert value == float(f"{raw}e-{digits}")


@pytest.mark.parametrize("scale", [10.0, 2.5, 0.3, 0.7, 1.0, 0.0])
def test_any_other_scale_multiplies(scale):
    assert decoded_value([300], DataType.INT, scale=scale) == 300 * scale


def test_registers_of_one_type_have_each_its_own_scale():
    registers = [register(name=f"s{i}", address=i, scale=scale) for i, scale in enumerate([1.0, 0.1, 100.0])]
    assert decode(registers, block(0, [7, 7, 7])) == {"s0": 7.0, "s1": 0.7, "s2": 700.0}


@pytest.mark.parametrize(
    ("data_type", "raw", "invalid_value"),
    [
        (DataType.INT, -32768, -32768),
        (DataType.INT, -32768, 32768),
        (DataType.INT, -1, 65535),
        (DataType.INT, -1, -1.0),
        (DataType.INT, 32767, 32767),
        (DataType.UINT16, 65535, 65535),
        (DataType.LONG, -(2**31), 0x8000_0000),
        (DataType.UINT32, 0xFFFF_FFFF, 0xFFFF_FFFF),
        (DataType.INT64, 2**63 - 1, 0x7FFF_FFFF_FFFF_FFFF),
        (DataType.INT64, -1, 0xFFFF_FFFF_FFFF_FFFF),
        (DataType.UINT64, 2**64 - 1, 2**64 - 1),
        (DataType.FLOAT, -9999.9, -9999.9),
        (DataType.FLOAT, 0.0, 0),
        (DataType.FLOAT64, -9999.9, -9999.9),
    ],
)
def test_the_invalid_value_is_no_reading(data_type, raw, invalid_value):
    words = encode_value(raw, data_type)
    assert decoded_value(words, data_type, invalid_value=invalid_value) is None
    assert decoded_value(words, data_type, invalid_value=invalid_value, scale=0.1) is None, "raw, before the scale"


@pytest.mark.parametrize(
    ("data_type", "raw", "invalid_value"),
    [
        (DataType.INT64, 2**63 - 2, 2**63 - 1),
        (DataType.UINT64, 2**64 - 2, 2**64 - 1),
        (DataType.INT, 0, 65536),
        (DataType.INT, 1, 1.5),
        (DataType.UINT16, 65535, -1),
        (DataType.FLOAT, 1.0, 1e300),
        (DataType.FLOAT, 1.0, math.nan),
        (DataType.INT, 1, math.inf),
    ],
)
def test_values_other_than_the_invalid_value_are_readings(data_type, raw, invalid_value):
    assert decoded_value(encode_value(raw, data_type), data_type, invalid_value=invalid_value) == float(raw)


@pytest.mark.parametrize("data_type", [DataType.FLOAT, DataType.FLOAT64])
@pytest.mark.parametrize("raw", [math.nan, math.inf, -math.inf])
def test_nan_and_infinities_are_absent(data_type, raw):
    assert decoded_value(encode_value(raw, data_type), data_type) is None


def test_a_signalling_nan_is_absent_without_a_warning(recwarn):
    assert decoded_value([0x7F80, 0x0001], DataType.FLOAT) is None
    assert not recwarn.list


def test_a_value_that_overflows_when_scaled_is_absent():
    assert decoded_value(encode_value(1e300, DataType.FLOAT64), DataType.FLOAT64, scale=1e300) is None


def test_an_invalid_register_does_not_affect_its_neighbours():
    registers = [register(name=name, address=i, invalid_value=-1) for i, name in enumerate("abc")]
    assert decode(registers, block(0, [1, 65535, 3])) == {"a": 1.0, "c": 3.0}


def test_zero_is_a_reading():
    assert decoded_value([0], DataType.INT) == 0.0


def test_a_register_that_is_not_whole_inside_one_block_is_absent():
    registers = [register(DataType.LONG, address=a, name=f"at {a}") for a in (0, 2, 3, 4, 6)]
    assert decode(registers, block(0, [0, 1, 0, 2]), block(4, [0, 3, 0])) == {"at 0": 1.0, "at 2": 2.0, "at 4": 3.0}


def test_holding_and_input_registers_of_one_address_are_different_ones():
    registers = [register(name="holding"), register(name="input", function_code=INPUT)]
    assert decode(registers, block(0, [3]), block(0, [4], INPUT)) == {"holding": 3.0, "input": 4.0}
    assert decode(registers, block(0, [4], INPUT)) == {"input": 4.0}


def test_registers_of_a_gap_are_skipped():
    registers = [register(name="a"), register(name="b", address=20)]
    assert decode(registers, block(0, list(range(100, 125)))) == {"a": 100.0, "b": 120.0}


def test_rows_come_by_sample_and_then_in_the_order_of_the_types_registers():
    types = {
        "two": MeterType("two", (register(name="b", address=1), register(name="a"))),
        "one": MeterType("one", (register(name="c", data_unit=None),)),
    }
    whole, half = (block(0, [1, 2]),), (block(0, [1]),)
    samples = [
        sample(*whole, meter_id=30, type_name="two", description="house"),
        sample(*half, meter_id=10, type_name="one"),
        sample(*half, meter_id=20, type_name="two"),
        sample(meter_id=40, type_name="two"),
        sample(*whole, meter_id=25, type_name="two", time=NOON + timedelta(milliseconds=1)),
    ]
    frame = decode_readings(samples, types)
    texts = frame[["id", "description", "measurement", "unit", "value"]].astype(object)
    assert list(texts.where(frame.notna(), None).itertuples(index=False, name=None)) == [
        (30, "house", "b", "W", 2.0),
        (30, "house", "a", "W", 1.0),
        (10, None, "c", None, 1.0),
        (20, None, "a", "W", 1.0),
        (25, None, "b", "W", 2.0),
        (25, None, "a", "W", 1.0),
    ]
    assert frame["time"].tolist() == [NOON] * 4 + [NOON + timedelta(milliseconds=1)] * 2


@pytest.mark.parametrize("samples", [[], [sample()], [sample(block(0, [1]))]], ids=["none", "unread", "read"])
def test_the_columns_and_their_types_are_the_same_with_and_without_rows(samples):
    frame = decode_readings(samples, {"t": MeterType("t", (register(),))})
    assert tuple(frame.columns) == READING_COLUMNS
    assert [str(dtype) for dtype in frame.dtypes] == [
        "datetime64[ms, UTC]", "int64", "category", "category", "category", "float64",
    ]  # fmt: skip
    assert isinstance(frame.index, pd.RangeIndex)


def test_a_sample_whose_type_lost_its_registers_gives_no_rows():
    assert decode_readings([sample(block(0, [1]))], {"t": MeterType("t")}).empty


def as_objects(frame):
    """Categories are those of all samples together; their texts are compared."""
    return frame.astype(dict.fromkeys(("description", "measurement", "unit"), object))


@settings(deadline=None)  # a busy machine must not fail a test
@given(data=st.data())
def test_many_meters_decode_to_the_same_as_one_by_one(data):
    registers = tuple(
        register(data_type, address=10 * i, name=f"r{i}", word_order=word_order, byte_order=byte_order)
        for i, (data_type, word_order, byte_order) in enumerate(
            data.draw(st.lists(st.tuples(st.sampled_from(DataType), st.sampled_from(Order), st.sampled_from(Order))))
        )
    )
    types = {"t": MeterType("t", registers)}
    seed = np.random.default_rng(data.draw(st.integers(0, 1000)))
    samples = [
        sample(
            *(block(10 * i, seed.integers(0, 65536, 4).tolist()) for i in range(len(registers)) if seed.random() < 0.8)
        )
        for _ in range(5)
    ]
    together = as_objects(decode_readings(samples, types))
    one_by_one = [as_objects(frame) for s in samples if not (frame := decode_readings([s], types)).empty]
    if one_by_one:
        pd.testing.assert_frame_equal(together, pd.concat(one_by_one, ignore_index=True))
    else:
        assert together.empty


@pytest.mark.parametrize(
    ("module", "kept_out"),
    [
        ("emm_pipeline.modbus.fleet_reading", {"pandas", "numpy", "dagster", "sqlalchemy", "influxdb_client"}),
        ("emm_pipeline.modbus.decoding", {"pandas", "pymodbus", "dagster", "sqlalchemy", "influxdb_client"}),
        ("emm_pipeline.modbus.planning", {"pandas", "numpy", "pymodbus", "dagster"}),
    ],
)
def test_importing_a_modbus_module_stays_light(module, kept_out):
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not kept_out & set(loaded)


def test_more_names_than_a_byte_counts_stay_apart_in_fleets_of_several_types():
    sizes = {"small": 100, "large": 120, "other": 90}
    types = {
        name: MeterType(name, tuple(Register(a, f"{name}{a}", "V", DataType.UINT16, HOLDING) for a in range(size)))
        for name, size in sizes.items()
    }
    samples = [
        MeterReading(EnergyMeter(n, "h", 502, 1, name), datetime.now(UTC), (block(0, [n] * sizes[name]),))
        for n, name in enumerate([*sizes, "small", "large"], start=1)
    ]
    rows = decode_readings(samples, types)[["id", "measurement", "value"]].itertuples(index=False, name=None)
    expected = [(s.meter.id, r.measurement_name, s.meter.id) for s in samples for r in types[s.meter.type].registers]
    assert list(rows) == expected
