"""The check of a reply's bytes; test_fleet_reading.py tests the failure of a meter reading for each fault."""

import struct

from hypothesis import example, given, settings
from hypothesis import strategies as st

from emm_pipeline.modbus.transport.base import ReadError
from emm_pipeline.modbus.transport.history import ReplyHistory
from emm_pipeline.modbus.transport.mbap import MbapFraming

counts = st.integers(1, 125)
bytes_of_ids = st.integers(0, 255)


def request(transaction_id=1, unit_id=1, function_code=3, count=1):
    return struct.pack(">HHHBBHH", transaction_id, 0, 6, unit_id, function_code, 0, count)


def reply(transaction_id=1, unit_id=1, function_code=3, count=1):
    words = bytes(2 * count)
    return struct.pack(">HHHBBB", transaction_id, 0, len(words) + 3, unit_id, function_code, len(words)) + words


def exception(code=2):
    return struct.pack(">HHHBBB", 1, 0, 3, 1, 0x83, code)


def wrong(sent, received):
    """Return the fault of the received bytes; None if there is none, as in an exception reply."""
    try:
        found = MbapFraming().parse(sent, received, ReplyHistory())
    except ReadError as err:
        return str(err)
    return str(found) if isinstance(found, ReadError) else None


@settings(deadline=None)  # a busy machine must not fail a test
@given(transaction_id=st.integers(0, 65535), unit_id=bytes_of_ids, count=counts, cut=st.integers(0, 300))
def test_every_part_of_a_right_reply_is_accepted(transaction_id, unit_id, count, cut):
    right = reply(transaction_id, unit_id, count=count)
    assert wrong(request(transaction_id, unit_id, count=count), right[:cut]) is None


@settings(deadline=None)  # a busy machine must not fail a test
@given(cut=st.integers(0, 9))
def test_every_part_of_an_exception_reply_is_accepted(cut):
    assert wrong(request(count=10), exception()[:cut]) is None


@settings(deadline=None)  # a busy machine must not fail a test
@given(garbage=st.binary(min_size=9, max_size=300))
@example(garbage=reply(count=2))
@example(garbage=exception() + b"\0")
@example(garbage=reply() * 2)
@example(garbage=b"hello" + reply())
def test_nine_bytes_distinguish_garbage_from_a_reply(garbage):
    starts = (reply()[:9], exception()[:8])
    assert (wrong(request(), garbage) is None) == any(start in garbage for start in starts)


@settings(deadline=None)  # a busy machine may be slow
@given(position=st.integers(2, 8), value=bytes_of_ids)
@example(position=7, value=0x83)
def test_no_byte_of_the_header_may_differ_except_the_transaction_id_and_a_larger_length(position, value):
    right = reply()
    changed = right[:position] + bytes([value]) + right[position + 1 :]
    is_longer = position == 5 and value >= right[5] and value < 255
    is_exception = position == 7 and value == right[7] | 0x80
    assert (wrong(request(), changed) is None) == (changed == right or is_longer or is_exception)
