"""A hundred thousand hostile frames per framing, without sockets: only replies to the request are accepted.

The frames are made and judged here with struct alone: neither pymodbus nor EMM's own check is used. Sockets are in
test_hostile_replies.py.
"""

import asyncio
import struct
import time
from random import Random

import pytest
from support import clock as clock_module
from support.clock import ClockLoop
from support.meters import crc

from emm_pipeline.fleet import FunctionCode, GatewayAddress, TransportKind
from emm_pipeline.modbus.transport.base import ExceptionReplyError, FramedReply, ReadError
from emm_pipeline.modbus.transport.choosing import transport_to
from emm_pipeline.modbus.transport.history import ReplyHistory
from emm_pipeline.modbus.transport.links import Connection
from emm_pipeline.modbus.transport.mbap import MbapFraming
from emm_pipeline.modbus.transport.rtu import RtuFraming
from emm_pipeline.readings import Request

FRAMES = 100_000
RTU = {TransportKind.RTU, TransportKind.SERIAL}
GATEWAYS = {
    kind: GatewayAddress("/dev/none" if kind is TransportKind.SERIAL else "127.0.0.1", 1, kind)
    for kind in TransportKind
}


def mbap(transaction_id, unit_id, pdu, protocol_id=0, surplus=0):
    return struct.pack(">HHHB", transaction_id, protocol_id, len(pdu) + 1 + surplus, unit_id) + pdu


def rtu(unit_id, pdu):
    frame = bytes([unit_id]) + pdu
    return frame + crc(frame)


class Maker:
    """Makes requests and the replies of a hostile device, and knows which registers may be accepted from them."""

    def __init__(self, is_rtu, seed):
        self.is_rtu = is_rtu
        self.at_random = Random(seed)

    def request(self):
        function_code = self.at_random.choice([FunctionCode.READ_HOLDING_REGISTERS, FunctionCode.READ_INPUT_REGISTERS])
        request = Request(function_code, self.at_random.randrange(60_000), self.at_random.randint(1, 8))
        return self.at_random.choice([0, 1, 7, 247]), request

    def frame(self, sent, unit_id, function_code, size):
        """Return a frame that is almost a valid reply."""
        data = self.at_random.randbytes(size)
        pdu = self.at_random.choices(
            [
                bytes([function_code, size]) + data,
                bytes([function_code | 0x80, self.at_random.randrange(12)]),
                bytes([function_code, size + 2]) + data + b"\0\0",
                bytes([function_code, size - 2]) + data[2:],
                bytes([self.at_random.randrange(256), size]) + data,
                self.at_random.randbytes(self.at_random.randrange(20)),
            ],
            weights=[6, 2, 1, 1, 1, 1],
        )[0]
        unit_id = self.at_random.choice([unit_id] * 8 + [0, 1, 255])
        if self.is_rtu:
            return rtu(unit_id, pdu)
        sent_id = int.from_bytes(sent[:2])
        transaction_id = self.at_random.choice([sent_id] * 6 + [0, 1, sent_id ^ 1, 0xFFFF])
        return mbap(
            transaction_id, unit_id, pdu, self.at_random.choice([0] * 9 + [1]), self.at_random.choice([0] * 8 + [1])
        )

    def stream(self, sent, unit_id, request):
        """Return the bytes that the device sends: almost valid frames, whole, damaged, cut or doubled, and garbage."""
        size, parts = 2 * request.count, []
        for _ in range(self.at_random.choice([1, 1, 1, 2, 3])):
            frame = bytearray(self.frame(sent, unit_id, int(request.function_code), size))
            damage = self.at_random.randrange(8)
            if damage == 0 and frame:
                for _ in range(self.at_random.randint(1, 3)):
                    frame[self.at_random.randrange(len(frame))] ^= 1 << self.at_random.randrange(8)
            elif damage == 1:
                del frame[self.at_random.randrange(len(frame) + 1) :]
            elif damage == 2:
                frame *= 2
            elif damage == 3:
                frame[:0] = self.at_random.randbytes(self.at_random.randrange(12))
            parts.append(bytes(frame))
        return b"".join(parts)

    def takeable(self, sent, unit_id, request, stream):
        """Return the registers of valid replies; those of MBAP with another id only if it may be constant."""
        size, function_code = 2 * request.count, int(request.function_code)
        head = bytes([unit_id, function_code, size])
        found = set()
        at = stream.find(head)
        while at >= 0:
            data = stream[at + 3 : at + 3 + size]
            if self.is_rtu:
                ok = crc(head + data) == stream[at + 3 + size : at + 5 + size]
            else:
                before = stream[max(0, at - 6) : at]
                ok = (
                    len(before) == 6
                    and before[:2] in {sent[:2], b"\0\0"}
                    and before[2:4] == b"\0\0"
                    and int.from_bytes(before[4:]) >= size + 3
                )
            if ok and len(data) == size:
                found.add(data)
            at = stream.find(head, at + 1)
        return found


@pytest.mark.parametrize("framing", [MbapFraming(), RtuFraming()], ids=["tcp and udp", "rtu and serial"])
def test_no_hostile_frame_of_a_hundred_thousand_gives_a_wrong_value(framing):
    maker, taken = Maker(isinstance(framing, RtuFraming), seed=1), 0
    for _ in range(FRAMES):
        unit_id, request = maker.request()
        sent = framing.build(unit_id, request)
        stream = maker.stream(sent, unit_id, request)
        try:
            found = framing.parse(sent, stream, ReplyHistory())
        except ReadError:
            continue
        if isinstance(found, FramedReply) and found.exception_code is None:
            taken += 1
            assert found.registers in maker.takeable(sent, unit_id, request, stream)
    assert FRAMES / 10 < taken < FRAMES, "right replies are among them, and wrong ones"


class Loopback:
    """A link that passes written bytes to the device."""

    def __init__(self, on_write):
        self.write, self.is_closed = on_write, False

    def abort(self):
        self.is_closed = True


@pytest.mark.parametrize("kind", TransportKind)
def test_no_hostile_stream_gives_a_wrong_value_to_a_transport_or_stalls_it(kind, monkeypatch):
    """Several requests over one connection, with copies and remainders of earlier replies, in pieces."""
    monkeypatch.setattr(clock_module, "IN_FLIGHT_S", 0)  # nothing is on its way through the kernel
    monkeypatch.setattr(time, "monotonic", (clock := ClockLoop()).monotonic)
    maker = Maker(kind in RTU, seed=2)

    async def judge(requests):
        transport = transport_to(GATEWAYS[kind])
        taken, sent_streams = 0, []
        unit_id, request = maker.request()

        def reply(sent):
            stream = maker.stream(sent, unit_id, request)
            sent_streams.append((sent, stream))
            cuts = sorted(maker.at_random.randrange(len(stream) + 1) for _ in range(2))
            for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
                if stream[start:end]:
                    asyncio.get_running_loop().call_soon(transport.receive, connection, stream[start:end])

        for _ in range(requests):
            if not transport.is_open:
                connection = Connection(transport)
                transport.begin(connection, Loopback(reply))
                sent_streams.clear()
            unit_id, request = maker.request()
            try:
                words = await transport.exchange(unit_id, request, 1.0)
            except ExceptionReplyError:
                continue
            except ReadError:
                transport.close()
                continue
            taken += 1
            everything = b"".join(stream for _, stream in sent_streams)
            assert words in maker.takeable(sent_streams[-1][0], unit_id, request, everything)
        transport.close()
        return taken

    try:
        assert clock.run(judge(4000)) > 400
    finally:
        clock.close()
