"""RTU's framing: what is a reply to a request, and what is not. Pure."""

import struct
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.meters import crc

from emm_pipeline.fleet import FunctionCode
from emm_pipeline.modbus.transport.base import FramedReply, ReadError, ResendError
from emm_pipeline.modbus.transport.history import ReplyHistory
from emm_pipeline.modbus.transport.memory import Look
from emm_pipeline.modbus.transport.rtu import RtuFraming
from emm_pipeline.readings import Request

REQUEST = Request(FunctionCode.READ_HOLDING_REGISTERS, 0, 2)
DATA = bytes.fromhex("43676666")


def framed(body):
    return body + crc(body)


def reply(unit_id=1, function_code=3, data=DATA):
    return framed(bytes([unit_id, function_code, len(data)]) + data)


def parse(received, request=REQUEST, history=None):
    framing, history = RtuFraming(), history or ReplyHistory()
    sent = framing.build(1, request)
    rest, _ = framing.strip(sent, received, history)
    return framing.parse(sent, rest, history)


def test_a_request_has_the_bytes_of_the_standard():
    """Modbus over Serial Line 1.02: unit, function, address, count, and the checksum with its low byte first."""
    assert (
        RtuFraming().build(1, REQUEST) == framed(struct.pack(">BBHH", 1, 3, 0, 2)) == bytes.fromhex("010300000002c40b")
    )


def test_the_right_reply_gives_its_registers():
    assert parse(reply()).registers == DATA


def test_an_exception_reply_is_recognized():
    assert parse(framed(bytes.fromhex("018302"))).exception_code == 2


@pytest.mark.parametrize("cut", range(len(reply())))
def test_an_incomplete_reply_is_waited_for(cut):
    assert parse(reply()[:cut]) is None


@pytest.mark.parametrize(
    ("received", "reason"),
    [
        (reply(unit_id=0), "the device answers as unit 0"),
        (reply(function_code=4), "function code 4 instead of 3"),
        (reply(data=DATA[:2]), "byte count 2 instead of 4"),
        (reply(data=DATA * 2), "byte count 8 instead of 4"),
        (framed(bytes.fromhex("018402")), "function code 4 instead of 3"),
        (reply()[:-1] + b"\0", "checksum"),
        (bytes.fromhex("000100000007010304") + DATA, "Modbus TCP frame"),
        (b"HTTP/1.1 400 Bad Request\r\n", "web server"),
    ],
)
def test_another_reply_is_refused_with_its_reason(received, reason):
    with pytest.raises(ReadError, match=reason):
        parse(received)


@settings(deadline=None)  # a busy machine may be slow
@given(
    data=st.binary(min_size=2, max_size=250).filter(lambda data: len(data) % 2 == 0),
    flips=st.sets(st.integers(0, 255 * 8 - 1), min_size=1, max_size=3),
    exception=st.booleans(),
)
def test_up_to_three_flipped_bits_never_pass(data, flips, exception):
    """A CRC of 16 bits with this polynomial finds each of them in frames of this length."""
    request = replace(REQUEST, count=len(data) // 2)
    frame = bytearray(framed(bytes.fromhex("018302")) if exception else reply(data=data))
    for bit in {flip % (8 * len(frame)) for flip in flips}:
        frame[bit // 8] ^= 1 << bit % 8
    try:
        found = parse(bytes(frame), request)
    except ReadError:
        return
    assert not isinstance(found, FramedReply)


def test_bursts_of_flipped_bits_never_pass():
    """Up to 16 bits wide, each is found by a CRC of 16 bits."""
    at_random = Random(1)
    for _ in range(3000):
        frame = int.from_bytes(reply())
        burst = at_random.randrange(1, 1 << 16) << at_random.randrange(8 * len(reply()) - 16)
        received = (frame ^ burst).to_bytes(len(reply()))
        try:
            found = parse(received)
        except ReadError:
            continue
        assert not isinstance(found, FramedReply)


def test_bytes_before_the_first_reply_of_a_connection_are_dropped():
    found = parse(b"\0\xff" + reply())
    assert found.registers == DATA
    assert "sent other bytes before its first reply" in found.notices[0]


def test_a_few_bytes_of_noise_before_a_later_reply_are_dropped_and_reported():
    """A line without bias resistors often adds a byte where the device begins to send."""
    history = ReplyHistory()
    history.took(reply(data=b"\0\1\0\2"))
    found = parse(b"\0\xff" + reply(), history=history)
    assert found.registers == DATA
    assert "bias resistors" in found.notices[0]


def test_many_bytes_before_a_later_reply_are_refused():
    history = ReplyHistory()
    history.took(reply(data=b"\0\1\0\2"))
    assert isinstance(parse(b"\0\xff\0\xff\0" + reply(), history=history), ReadError)


def test_an_echo_of_the_request_is_dropped():
    """As adapters send it that receive while they send."""
    echo = RtuFraming().build(1, REQUEST)
    assert parse(echo + reply()).registers == DATA
    assert parse(echo) is None


def test_surplus_bytes_are_dropped_and_the_link_is_opened_again():
    found = parse(reply() + b"\0\0")
    assert (found.registers, found.taints_link) == (DATA, True)


def test_a_reply_that_may_be_a_copy_of_the_one_before_is_requested_again():
    history = ReplyHistory()
    history.took(reply())
    with pytest.raises(ResendError, match="copy"):
        parse(reply(), history=history)


def test_a_late_reply_of_another_unit_is_dropped_and_the_right_one_awaited():
    history = ReplyHistory()
    history.unanswered.add(Look(7, 3, 4), 1.0)
    history.unanswered.add(Look(7, 3, 4), 1.0)
    assert parse(reply(unit_id=7), history=history) is None
    found = parse(reply(unit_id=7) + reply(), history=history)
    assert found.registers == DATA
    with pytest.raises(ReadError, match="unit id 7"):
        parse(reply(unit_id=7), history=history)
