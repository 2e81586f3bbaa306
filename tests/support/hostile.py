"""Send invalid and malicious replies over a real socket, and check the reader's result.

The frames are created and checked here with struct only: neither pymodbus nor EMM's own check is used.
"""

import asyncio
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import NamedTuple

from hypothesis import strategies as st

from emm_pipeline.fleet import REGISTER_FUNCTIONS, FunctionCode, GatewayAddress
from emm_pipeline.modbus.transport.base import ReadError
from emm_pipeline.modbus.transport.mbap import MbapFraming
from emm_pipeline.modbus.transport.tcp import TcpTransport
from emm_pipeline.readings import FailureKind, Request

TIMEOUT_S = 0.5
LONGEST_CASE_S = 5.0
"""Timeouts in seconds of the reader and of a whole case, on a simulated clock."""

SECOND = Request(FunctionCode.READ_INPUT_REGISTERS, 500, 3)
SECOND_UNIT = 9
SECOND_WORDS = bytes.fromhex("111122223333")


def right_reply(transaction_id, unit_id, function_code, words):
    pdu = struct.pack(">BB", function_code, len(words)) + words
    return struct.pack(">HHHB", transaction_id, 0, len(pdu) + 1, unit_id) + pdu


@dataclass
class Case:
    """A request, the bytes that the device sends, their division into pieces, and the device's next action."""

    unit_id: int
    request: Request
    words: bytes
    stream: bytes
    cuts: list[int]
    ending: str
    """`close`, `reset`, `silence`, or `answer`: continue, and send the right reply to the next request."""

    @property
    def chunks(self):
        ends = sorted({min(cut, len(self.stream)) for cut in self.cuts} | {len(self.stream)})
        return [self.stream[start:end] for start, end in zip([0, *ends], ends, strict=False) if end > start]

    @property
    def right(self):
        """The right reply to the request; the first request on a connection has the transaction id 1."""
        return right_reply(1, self.unit_id, self.request.function_code, self.words)

    def values(self):
        """Return the words that may be accepted: after a header that replies to the request, or has no id."""
        size = len(self.words)
        return {
            self.stream[at + 9 : at + 9 + size]
            for at in range(len(self.stream) - 8 - size)
            if self.stream[at : at + 4] in {bytes(4), b"\0\1\0\0"}
            and int.from_bytes(self.stream[at + 4 : at + 6]) >= size + 3
            and self.stream[at + 6 : at + 9] == self.right[6:9]
        }

    def exception_codes(self):
        """Return the exception codes that may be accepted."""
        ends = bytes([self.unit_id, self.request.function_code | 0x80])
        return {
            self.stream[at + 8]
            for at in range(len(self.stream) - 8)
            if self.stream[at : at + 4] in {bytes(4), b"\0\1\0\0"}
            and int.from_bytes(self.stream[at + 4 : at + 6]) >= 3
            and self.stream[at + 6 : at + 8] == ends
        }


@dataclass
class HostileDevice:
    """A device that listens on a free port; each connection gets the current case."""

    case: Case | None = None
    _server: asyncio.Server = field(init=False)
    port: int = field(init=False)

    async def start(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self):
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader, writer):
        case = self.case
        try:
            await reader.readexactly(12)
            for chunk in case.chunks:
                writer.write(chunk)
                await writer.drain()
                await asyncio.sleep(0)
            if case.ending == "reset":
                writer.transport.abort()
            elif case.ending in {"silence", "answer"}:
                request = await reader.readexactly(12)
                if case.ending == "answer":
                    transaction_id = int.from_bytes(request[:2])
                    writer.write(right_reply(transaction_id, SECOND_UNIT, SECOND.function_code, SECOND_WORDS))
                    await reader.read()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def judge(self, case):
        """Read with the real transport; return whether the reply was accepted. A fault is an AssertionError."""
        self.case = case
        connection = TcpTransport(GatewayAddress("127.0.0.1", self.port), MbapFraming(count(1)))
        async with asyncio.timeout(LONGEST_CASE_S):
            await connection.open(5.0)
            try:
                return await self._exchange(connection, case)
            finally:
                connection.close()

    async def _exchange(self, connection, case):
        try:
            words = await connection.exchange(case.unit_id, case.request, TIMEOUT_S)
        except ReadError as err:
            self._check_refusal(case, err)
            if err.kind is not FailureKind.EXCEPTION:
                return False  # the connection is closed, as the reader does
            taken = False
        else:
            assert words in case.values(), "words that no right reply brought"
            taken = True
        if connection.is_open:
            # The rest of the first reply is distinguished from the second, unless the device has closed the connection
            with suppress(ReadError):
                assert await connection.exchange(SECOND_UNIT, SECOND, TIMEOUT_S) == SECOND_WORDS
        return taken

    def _check_refusal(self, case, err):
        assert case.stream != case.right or case.ending == "reset", f"the right reply is refused: {err}"
        if err.kind is FailureKind.EXCEPTION:
            assert err.exception_code in case.exception_codes()


class Piece(NamedTuple):
    """A part of a stream: its kind, and two numbers that determine it."""

    kind: str
    where: int
    what: int


def _with_byte(frame, position, value):
    return frame[:position] + bytes([value]) + frame[position + 1 :]


def _exception(piece, case):
    return struct.pack(">HHHBBB", 1, 0, 3, case.unit_id, case.request.function_code | 0x80, piece.what)


def _garbage(piece, most):
    at_random = Random(piece.where * 256 + piece.what)
    return at_random.randbytes(at_random.randrange(most))


PIECES = {
    "right": lambda _, case: case.right,
    "exception": _exception,
    "right, but for a byte": lambda piece, case: _with_byte(case.right, piece.where % 13, piece.what),
    "exception, but for a byte": lambda piece, case: _with_byte(_exception(piece, case), piece.where % 9, piece.what),
    "beginning": lambda piece, case: case.right[: piece.where % (len(case.right) + 1)],
    "end": lambda piece, case: case.right[piece.where % len(case.right) :],
    "another unit's": lambda piece, case: right_reply(1, piece.what, case.request.function_code, case.words),
    "another request's": lambda piece, case: right_reply(
        piece.where % 4, case.unit_id, piece.where % 5, _garbage(piece, 256)
    ),
    "garbage": lambda piece, _: _garbage(piece, 600),
}


def _case(unit_id, request, pieces, cuts, ending):
    case = Case(unit_id, request, Random(request.address).randbytes(2 * request.count), b"", cuts, ending)
    case.stream = b"".join(PIECES[piece.kind](piece, case) for piece in pieces)
    return case


hostile_replies = st.builds(
    _case,
    st.integers(0, 255),
    st.builds(Request, st.sampled_from(REGISTER_FUNCTIONS), st.integers(0, 60_000), st.integers(1, 125)),
    st.lists(
        st.builds(Piece, st.sampled_from(list(PIECES)), st.integers(0, 2**16), st.integers(0, 255)),
        min_size=1,
        max_size=3,
    ),
    st.lists(st.integers(0, 300), max_size=5),
    st.sampled_from(["close"] * 6 + ["answer"] * 6 + ["reset"] * 2 + ["silence"]),
)
"""Cases close to right replies (changed, cut, repeated, joined with others) and random bytes."""
