"""Simulated Modbus TCP gateways with meters behind them, and with faults, for tests and benchmarks.

They are implemented with asyncio streams and struct only. Neither pymodbus nor EMM's decoding is used, so that the
tested code and the simulation cannot contain the same mistake.

    with SimulatedGateway({1: SimulatedUnit(holding(0, encode_value(231.4, DataType.FLOAT)))}) as gateway:
        ...  # a meter at gateway.host, gateway.port, unit 1
"""

from __future__ import annotations

import asyncio
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, NamedTuple, Protocol, Self

import pytest

from emm_pipeline.fleet import DataType, MeterType, Order

COILS, DISCRETE_INPUTS, HOLDING, INPUT = 1, 2, 3, 4
ILLEGAL_FUNCTION, ILLEGAL_DATA_ADDRESS = 1, 2

_REQUEST = struct.Struct(">HHHBBHH")
"""Transaction id, protocol id, length, unit id, function code, address, count."""

Registers = Mapping[tuple[int, int], int] | Callable[[int, int], int | None]
"""Returns the register at a function code and address; a missing one, or None, is an illegal data address."""

_FORMATS = {
    DataType.INT: "h",
    DataType.LONG: "i",
    DataType.FLOAT: "f",
    DataType.UINT16: "H",
    DataType.UINT32: "I",
    DataType.INT64: "q",
    DataType.UINT64: "Q",
    DataType.FLOAT64: "d",
}


def encode_value(
    value: float,
    data_type: DataType,
    word_order: Order = Order.BIG_ENDIAN,
    byte_order: Order = Order.BIG_ENDIAN,
) -> list[int]:
    """Return the registers of a raw value, first register first."""
    data = _packed(value, data_type)
    pairs = [data[i : i + 2] for i in range(0, len(data), 2)]
    if word_order is Order.LITTLE_ENDIAN:
        pairs.reverse()
    if byte_order is Order.LITTLE_ENDIAN:
        pairs = [bytes(reversed(pair)) for pair in pairs]
    return [high << 8 | low for high, low in pairs]


def _packed(value: Any, data_type: DataType) -> bytes:  # noqa: PLR0911 - a line for each type
    """A raw value's bytes, the most significant first."""
    match data_type:
        case DataType.BOOL:
            return struct.pack(">H", bool(value))
        case DataType.SIGN_MAGNITUDE:
            return struct.pack(">H", abs(int(value)) | (0x8000 if value < 0 else 0))
        case DataType.UINT24:
            return int(value).to_bytes(4, "big")
        case DataType.UINT48 | DataType.INT48:
            return int(value).to_bytes(6, "big", signed=data_type is DataType.INT48)
        case DataType.BCD4 | DataType.BCD8:
            return bytes.fromhex(f"{int(value):0{4 if data_type is DataType.BCD4 else 8}d}")
        case DataType.MODULO_10000:
            return struct.pack(">HH", *divmod(int(value), 10_000))
        case _:
            return struct.pack(">" + _FORMATS[data_type], value)


def encode_text(text: str, length: int) -> list[int]:
    """The words that hold a text, two characters in each, filled with NUL."""
    data = text.encode().ljust(2 * length, b"\0")
    return list(struct.unpack(f">{length}H", data))


def holding(address: int, words: Sequence[int]) -> dict[tuple[int, int], int]:
    """Return holding registers that start at `address`."""
    return {(HOLDING, address + i): word for i, word in enumerate(words)}


def inputs(address: int, words: Sequence[int]) -> dict[tuple[int, int], int]:
    """Return input registers that start at `address`."""
    return {(INPUT, address + i): word for i, word in enumerate(words)}


def encode_registers(meter_type: MeterType, raw_values: Mapping[str, float]) -> dict[tuple[int, int], int]:
    """Return the registers of a meter with these raw values; gaps between them are 0."""
    words: dict[tuple[int, int], int] = {}
    for function_code in (HOLDING, INPUT):
        registers = [r for r in meter_type.measured if r.function_code == function_code]
        start = min((r.register_address for r in registers), default=0)
        end = max((r.end for r in registers), default=0)
        words.update({(function_code, address): 0 for address in range(start, end)})
    for register in meter_type.measured:
        raw = raw_values.get(register.measurement_name, 0)
        for i, word in enumerate(encode_value(raw, register.data_type, register.word_order, register.byte_order)):
            words[int(register.function_code), register.register_address + i] = word
    return words


@dataclass
class SimulatedUnit:
    """A simulated meter: its registers and its faults, which may be changed at any time."""

    registers: Registers = field(default_factory=dict)
    delay_s: float | Callable[[Received], float] = 0.0
    """Delay before each reply; a delay beyond the reader's timeout causes late replies."""
    waits_for: Callable[[], bool] | None = None
    """No reply is sent before this is true."""
    silent: bool | Callable[[], bool] = False
    """Whether requests get no reply."""
    exceptions: Mapping[int, int] = field(default_factory=dict)
    """Exception codes by address: the reply to any request that includes the address."""
    exception: int | None = None
    """Exception code of the reply to every request."""
    transaction_id_offset: int = 0
    transaction_id: int | None = None
    """The transaction id of each reply, whatever that of the request is."""
    doubled_after_s: float | None = None
    """Each reply is sent twice, the second time so much later; 0: in the same segment."""
    surplus_in_frame: bytes = b""
    """Behind the registers, covered by the header's length."""
    ignores: Callable[[Received], bool] | None = None
    """Which requests get no reply."""
    closes_on: Callable[[Received], bool] | None = None
    """At which requests the connection is closed in place of a reply."""
    answer_as_unit: int | None = None
    answer_as_function: int | None = None
    extra_registers: int = 0
    """Number of additional registers in a reply, which stays well-formed; negative: missing registers."""
    protocol_id: int = 0
    garbage: bytes | None = None
    """Bytes that are sent instead of a reply."""
    trailing: bytes = b""
    """Bytes that are sent after each reply."""
    reset_after: int | None = None
    """The connection is reset after this number of bytes of the reply."""
    byte_by_byte: bool = False
    """Whether each byte of the reply is sent in its own segment."""
    register_bytes: int = 2
    """With 4, each register is sent as four bytes, and its number may have 32 bits."""


class Received(NamedTuple):
    """A request as received."""

    unit_id: int
    function_code: int
    address: int
    count: int
    at: float
    """time.monotonic()"""


class Loop(Protocol):
    """The event loop of gateways."""

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run the coroutine to its end."""


class SimulatorLoop:
    """An event loop in its own thread, which any number of gateways can share."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="simulated meters", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run the coroutine in the loop, and wait for its end."""
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=30)


@dataclass(eq=False)
class SimulatedGateway:
    """A Modbus TCP server with simulated units on a loopback address; a context manager that listens while open."""

    units: Mapping[int, SimulatedUnit]
    """The units by unit id."""
    _: KW_ONLY
    host: str = "127.0.0.1"
    port: int = 0
    """The port; 0 until the gateway listens selects a free one."""
    loop: Loop | None = None
    """The event loop; without one, the gateway has its own loop and thread."""
    one_at_a_time: bool = False
    """Whether requests from several connections are processed one at a time, as on a serial line."""
    requests_per_connection: int | None = None
    """The gateway closes a connection after this number of replies."""
    idle_s: float | None = None
    """The gateway closes a connection without requests after this time (s)."""
    resets_every: int | None = None
    """The gateway resets every n-th connection at its first request."""
    replies_on_newest: bool = False
    """A reply is sent on the connection that was opened last, whichever the request came on."""
    missing_unit_exception: int | None = 11
    """The exception code for a unit that is not there; None: no reply."""
    rtu: bool = False
    """RTU frames instead of Modbus TCP's, as a transparent converter passes them on."""
    greeting: bytes = b""
    """Sent as soon as a connection is open."""
    loses_first_request: bool = False
    """The first request of each connection gets no reply."""
    deaf_s: float = 0.0
    """Requests that come so soon after the connection was opened get no reply."""

    requests: int = field(default=0, init=False)
    connections: int = field(default=0, init=False)
    open_connections: int = field(default=0, init=False)
    max_open_connections: int = field(default=0, init=False)
    max_simultaneous_requests: int = field(default=0, init=False)
    received: deque[Received] = field(default_factory=lambda: deque(maxlen=10_000), init=False)
    """The last requests, oldest first."""

    def __post_init__(self) -> None:
        self._own_loop = ExitStack()
        self._simultaneous_requests = 0
        self._line = asyncio.Semaphore(1 if self.one_at_a_time else sys.maxsize)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._newest: asyncio.StreamWriter | None = None

    def __enter__(self) -> Self:
        if self.loop is None:
            self.loop = self._own_loop.enter_context(SimulatorLoop())
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._own_loop.close()

    def start(self) -> None:
        """Listen; after a stop, on the same port as before."""
        assert self.loop
        self.loop.run(self.listen())

    def stop(self) -> None:
        """Stop listening and close all connections, as if the gateway lost power."""
        assert self.loop
        self.loop.run(self.shut())

    async def listen(self) -> None:
        """Listen; call this in the gateway's own loop."""
        self._server = await asyncio.start_server(self._serve, self.host, self.port, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def shut(self) -> None:
        """Stop; call this in the gateway's own loop."""
        if self._server:
            self._server.close()
            self._server = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        self._newest = writer
        self.connections += 1
        self.open_connections += 1
        self.max_open_connections = max(self.max_open_connections, self.open_connections)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, TimeoutError):
                await self._answer_requests(reader, writer)
        finally:
            self.open_connections -= 1
            self._tasks.discard(task)
            writer.close()

    async def _answer_requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answered = 0
        number = self.connections
        opened_at = time.monotonic()
        is_first = True
        writer.write(self.greeting)
        while answered != self.requests_per_connection:
            async with asyncio.timeout(self.idle_s):
                request = await reader.readexactly(RTU_REQUEST_SIZE if self.rtu else _REQUEST.size)
            if self.rtu:
                if crc(request[:-2]) != request[-2:]:
                    continue
                request = bytes(6) + request[:-2]
            if self.resets_every and number % self.resets_every == 0:
                writer.transport.abort()
                raise ConnectionResetError
            transaction_id, _, _, unit_id, function_code, address, count = _REQUEST.unpack(request)
            self.requests += 1
            self.received.append(Received(unit_id, function_code, address, count, time.monotonic()))
            was_first, is_first = is_first, False
            if (was_first and self.loses_first_request) or time.monotonic() - opened_at < self.deaf_s:
                continue
            self._simultaneous_requests += 1
            self.max_simultaneous_requests = max(self.max_simultaneous_requests, self._simultaneous_requests)
            try:
                async with self._line:
                    await self._reply(writer, transaction_id, self.received[-1])
            finally:
                self._simultaneous_requests -= 1
            answered += 1

    async def _reply(self, writer: asyncio.StreamWriter, transaction_id: int, request: Received) -> None:
        unit = self.units.get(request.unit_id)
        if unit is None:
            unit = SimulatedUnit(exception=self.missing_unit_exception, silent=self.missing_unit_exception is None)
        if unit.delay_s:
            await asyncio.sleep(unit.delay_s(request) if callable(unit.delay_s) else unit.delay_s)
        while unit.waits_for and not unit.waits_for():  # noqa: ASYNC110 - a condition of any kind
            await asyncio.sleep(0.005)
        if _is_ignored(unit, request):
            return
        if unit.closes_on and unit.closes_on(request):
            raise ConnectionAbortedError
        if self.replies_on_newest and self._newest:
            writer = self._newest
        frame = unit.garbage if unit.garbage is not None else _reply_frame(unit, transaction_id, request, rtu=self.rtu)
        if unit.reset_after is not None:
            writer.write(frame[: unit.reset_after])
            await writer.drain()
            writer.transport.abort()
            raise ConnectionResetError
        await _send(unit, writer, frame)
        await writer.drain()


def _is_ignored(unit: SimulatedUnit, request: Received) -> bool:
    silent = unit.silent() if callable(unit.silent) else unit.silent
    return silent or bool(unit.ignores and unit.ignores(request))


async def _send(unit: SimulatedUnit, writer: asyncio.StreamWriter, frame: bytes) -> None:
    if unit.byte_by_byte:
        for i in range(len(frame)):
            writer.write(frame[i : i + 1])
            await asyncio.sleep(0.0005)
        return
    copy = frame if unit.doubled_after_s == 0 else b""
    writer.write(frame + unit.trailing + copy)
    if unit.doubled_after_s:
        asyncio.get_running_loop().call_later(unit.doubled_after_s, writer.write, frame)


RTU_REQUEST_SIZE = 8


def _crc_of_byte(value: int) -> int:
    """One byte of an RTU checksum, bit by bit as the standard describes it."""
    for _ in range(8):
        value = value >> 1 ^ 0xA001 if value & 1 else value >> 1
    return value


_CRC = [_crc_of_byte(byte) for byte in range(256)]


def crc(data: bytes) -> bytes:
    """The checksum of an RTU frame."""
    value = 0xFFFF
    for byte in data:
        value = value >> 8 ^ _CRC[(value ^ byte) & 0xFF]
    return struct.pack("<H", value)


def _reply_frame(unit: SimulatedUnit, transaction_id: int, request: Received, *, rtu: bool) -> bytes:
    function_code = unit.answer_as_function or request.function_code
    words, exception_code = _lookup(unit, request)
    if exception_code:
        pdu = struct.pack(">BB", function_code | 0x80, exception_code)
    else:
        words = [*words, *[0] * unit.extra_registers][: request.count + unit.extra_registers]
        data = _packed_registers(unit, request, words)
        pdu = struct.pack(">BB", function_code, len(data)) + data
    unit_id = request.unit_id if unit.answer_as_unit is None else unit.answer_as_unit
    pdu += unit.surplus_in_frame
    if rtu:
        return bytes([unit_id]) + pdu + crc(bytes([unit_id]) + pdu)
    if unit.transaction_id is not None:
        transaction_id = unit.transaction_id
    transaction_id = (transaction_id + unit.transaction_id_offset) % 65536
    return struct.pack(">HHHB", transaction_id, unit.protocol_id, len(pdu) + 1, unit_id) + pdu


def _packed_registers(unit: SimulatedUnit, request: Received, words: Sequence[int]) -> bytes:
    """The data of a reply: registers, or eight bits a byte, the first one the lowest."""
    if request.function_code in (COILS, DISCRETE_INPUTS):
        bits = sum(1 << place for place, word in enumerate(words) if word)
        return bits.to_bytes(-(-len(words) // 8), "little")
    return struct.pack(f">{len(words)}{'I' if unit.register_bytes == 4 else 'H'}", *words)


def _lookup(unit: SimulatedUnit, request: Received) -> tuple[list[int], int]:
    """Return the requested registers, or an exception code."""
    if unit.exception:
        return [], unit.exception
    if request.function_code not in (COILS, DISCRETE_INPUTS, HOLDING, INPUT):
        return [], ILLEGAL_FUNCTION
    words = []
    for address in range(request.address, request.address + request.count):
        if address in unit.exceptions:
            return [], unit.exceptions[address]
        if callable(unit.registers):
            word = unit.registers(request.function_code, address)
        else:
            word = unit.registers.get((request.function_code, address))
        if word is None:
            return [], ILLEGAL_DATA_ADDRESS
        words.append(word)
    return words, 0


class StartGateway(Protocol):
    """Starts a gateway that exists until the end of the test; the parameters are those of SimulatedGateway."""

    def __call__(self, units: Mapping[int, SimulatedUnit], **options: Any) -> SimulatedGateway: ...


@pytest.fixture(scope="session")
def simulator_loop() -> Iterator[SimulatorLoop]:
    """The loop and thread that the simulated gateways of all tests share."""
    with SimulatorLoop() as loop:
        yield loop


@pytest.fixture
def simulated_gateway(simulator_loop: SimulatorLoop) -> Iterator[StartGateway]:
    """A factory of simulated gateways: `gateway = simulated_gateway({1: SimulatedUnit(…)})`."""
    with ExitStack() as gateways:

        def start(units: Mapping[int, SimulatedUnit], **options: Any) -> SimulatedGateway:
            return gateways.enter_context(SimulatedGateway(units, loop=simulator_loop, **options))

        yield start
