"""Coding values into registers, and the registers of an update (pure)."""

import math
import struct
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtual_modbustcp_server.registers import DataType, Order, Registers, encode

FORMATS = {1: "h", 2: "i", 3: "f", 4: "H", 5: "I", 6: "q", 7: "Q", 8: "d"}
LAYOUTS = {(2, 2): "ABCD", (1, 2): "CDAB", (2, 1): "BADC", (1, 1): "DCBA"}


def reference(data: bytes, word_order: int, byte_order: int) -> bytes:
    """Reorder bytes as FACTS has it: the layouts of 32 bits, told by their letters, and their 64-bit kin."""
    pairs = [data[i : i + 2] for i in range(0, len(data), 2)]
    if word_order == 1:
        pairs.reverse()
    return b"".join(pair if byte_order == 2 else pair[::-1] for pair in pairs)


def values_of(data_type: int) -> st.SearchStrategy[float]:
    code = FORMATS[data_type]
    if code in "fd":
        return st.floats(width=32 if code == "f" else 64, allow_nan=False, allow_infinity=False)
    bits = 8 * struct.calcsize(code)
    low = -(2 ** (bits - 1)) if code.islower() else 0
    return st.integers(low, low + 2**bits - 1)


@given(
    data=st.sampled_from(sorted(FORMATS)).flatmap(lambda code: st.tuples(st.just(code), values_of(code))),
    word_order=st.sampled_from([1, 2]),
    byte_order=st.sampled_from([1, 2]),
)
def test_every_value_of_every_type_is_coded_in_every_order(data, word_order, byte_order):
    data_type, value = data
    words = encode(value, DataType(data_type), Order(word_order), Order(byte_order))
    packed = struct.pack(">" + FORMATS[data_type], value)
    assert struct.pack(f">{len(words)}H", *words) == reference(packed, word_order, byte_order)


@pytest.mark.parametrize(("orders", "layout"), LAYOUTS.items())
def test_the_four_layouts_are_those_of_the_handbooks(orders, layout):
    words = encode(0x41424344, DataType.UINT32, *map(Order, orders))
    assert struct.pack(">HH", *words).decode() == layout


BEYOND = [
    *[(1, 2**15), (1, -(2**15) - 1), (4, -1), (4, 2**16), (2, 2**31), (5, 2**32), (6, -(2**63) - 1), (7, 2**64)],
    *[(3, 1e39), (3, 10**400), (8, 10**400), (1, 10**400)],
]


@pytest.mark.parametrize(("data_type", "value"), BEYOND, ids=range(len(BEYOND)))
def test_a_value_beyond_its_type_is_refused_with_the_range(data_type, value):
    with pytest.raises(ValueError, match=r"out of range: \w+ holds"):
        encode(value, DataType(data_type))


def test_a_fraction_is_not_cut_off_silently():
    with pytest.raises(ValueError, match="not a whole number: round it, or use FLOAT"):
        encode(230.7, DataType.INT)
    assert encode(230.0, DataType.INT) == (230,)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_values_that_are_not_finite_are_refused(value):
    with pytest.raises(ValueError, match="write None if there is no value"):
        encode(value, DataType.FLOAT)


@pytest.mark.parametrize("value", ["12", [1], object()])
def test_values_that_are_not_numbers_are_refused(value):
    with pytest.raises(TypeError, match="is not a number"):
        encode(value, DataType.FLOAT)


def test_no_value_is_nan_in_floats_and_the_sunspec_pattern_in_integers():
    assert math.isnan(struct.unpack(">f", struct.pack(">HH", *encode(None, DataType.FLOAT)))[0])
    assert math.isnan(struct.unpack(">d", struct.pack(">4H", *encode(None, DataType.FLOAT64)))[0])
    assert encode(None, DataType.INT) == (0x8000,)
    assert encode(None, DataType.UINT16) == (0xFFFF,)
    assert encode(None, DataType.LONG) == (0x8000, 0)
    assert encode(None, DataType.UINT64) == (0xFFFF,) * 4


def test_numbers_of_numpy_are_numbers():
    import numpy as np

    assert encode(np.int64(7), DataType.INT) == (7,)
    assert encode(np.float32(1.5), DataType.FLOAT) == encode(1.5, DataType.FLOAT)


def test_units_and_function_codes_have_registers_of_their_own():
    registers = Registers()
    for number, (unit, code) in enumerate(product((0, 255), (3, 4))):
        registers.write(unit, code, 10, (number,))
    found = [registers.read(unit, code, 10, 1) for unit, code in product((0, 255), (3, 4))]
    assert found == [[0], [1], [2], [3]]
    assert registers.has_unit(255)
    assert not registers.has_unit(1)


def test_a_read_that_touches_an_unwritten_register_finds_nothing():
    registers = Registers()
    registers.write(0, 3, 10, (1, 2))
    assert registers.read(0, 3, 10, 2) == [1, 2]
    assert registers.read(0, 3, 9, 2) is None
    assert registers.read(0, 3, 11, 2) is None
    assert registers.read(0, 4, 10, 1) is None


def test_values_that_overlap_are_refused_but_one_may_be_written_again():
    registers = Registers()
    registers.write(0, 3, 10, (1, 2))
    registers.write(0, 3, 10, (3, 4))
    registers.write(0, 3, 12, (5, 6))
    for address in (9, 11):
        with pytest.raises(ValueError, match="overlaps the value in registers 10 to 11"):
            registers.write(0, 3, address, (7, 8))
    assert registers.read(0, 3, 10, 4) == [3, 4, 5, 6]


def test_the_last_register_can_be_written_and_none_beyond_it():
    registers = Registers()
    registers.write(0, 3, 65534, (1, 2))
    with pytest.raises(ValueError, match="does not fit into addresses 0 to 65535"):
        registers.write(1, 3, 65535, (1, 2))
    with pytest.raises(ValueError, match="does not fit"):
        registers.write(1, 3, -1, (1,))


def test_a_unit_id_beyond_a_byte_is_refused():
    with pytest.raises(ValueError, match="unit id 256 is out of range: allowed are 0 to 255"):
        Registers().write(256, 3, 0, (1,))
