"""The check of a reply's bytes; test_fleet_reading.py has what a meter reading says of each fault."""

import struct

from hypothesis import example, given, settings
from hypothesis import strategies as st

from emm_pipeline.modbus.transport.base import ReadError
from emm_pipeline.modbus.transport.mbap import MbapFraming
from emm_pipeline.readings import FailureKind

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
    """What is wrong with the bytes received; None if nothing is, as in an exception reply."""
    try:
        MbapFraming().parse(sent, received, 2 * int.from_bytes(sent[10:12], "big"))
    except ReadError as err:
        return None if err.kind is FailureKind.EXCEPTION else str(err)
    return None


@settings(deadline=None)  # a busy machine is no failure
@given(transaction_id=st.integers(0, 65535), unit_id=bytes_of_ids, count=counts, cut=st.integers(0, 300))
def test_nothing_is_wrong_with_the_right_reply_however_much_of_it_has_come(transaction_id, unit_id, count, cut):
    right = reply(transaction_id, unit_id, count=count)
    assert wrong(request(transaction_id, unit_id, count=count), right[:cut]) is None


@settings(deadline=None)  # a busy machine is no failure
@given(cut=st.integers(0, 9))
def test_nothing_is_wrong_with_an_exception_reply(cut):
    assert wrong(request(count=10), exception()[:cut]) is None


@settings(deadline=None)  # a busy machine is no failure
@given(garbage=st.binary(min_size=9, max_size=300))
@example(garbage=reply(count=2))
@example(garbage=exception() + b"\0")
@example(garbage=reply() * 2)
def test_nine_bytes_tell_garbage_from_a_reply(garbage):
    looks_right = garbage[:9] == reply()[:9] and len(garbage) <= 11
    is_exception = garbage[:8] == exception()[:8] and len(garbage) == 9
    assert (wrong(request(), garbage) is None) == (looks_right or is_exception)


@settings(deadline=None)  # a busy machine is no failure
@given(position=st.integers(0, 8), value=bytes_of_ids)
def test_no_byte_of_the_header_may_differ(position, value):
    right = reply()
    changed = right[:position] + bytes([value]) + right[position + 1 :]
    assert (wrong(request(), changed) is None) == (changed == right)
