"""The listener of a virtual server: a pymodbus server in a thread, which answers from one function.

It speaks Modbus TCP, and, for tests of other transports, RTU over TCP, UDP and RTU on a serial line.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from pymodbus.constants import ExcCodes
from pymodbus.exceptions import NoSuchIdException
from pymodbus.framer import FramerType
from pymodbus.pdu import ExceptionResponse, ModbusPDU
from pymodbus.pdu.register_message import ReadHoldingRegistersResponse, ReadInputRegistersResponse
from pymodbus.server import ModbusSerialServer, ModbusTcpServer, ModbusUdpServer
from pymodbus.simulator import DataType, SimData, SimDevice

MAX_COUNT = 125
"""Maximum number of registers in one reply."""

Read = Callable[[int, int, int, int], list[int] | ExcCodes]
"""(unit_id, function_code, register_address, count) -> the registers, or the exception code of the reply.

Called in the server's thread for each request, so it must not block.
"""

TRANSPORTS = ("tcp", "rtu", "udp", "serial")
"""Modbus TCP, RTU frames over TCP, Modbus TCP's frames as datagrams, RTU on a serial line."""

DEFAULT_SERIAL_SETTINGS = "9600 8N1"

_SERIAL_SETTINGS = re.compile(r"(\d+) ([78])([NEO])([12])", re.ASCII)
_RTU_REQUEST_SIZE = 8
_BYTE_COUNT_AT = {15: 6, 16: 6, 23: 10}
"""By function code, the position of the byte count in requests that are longer."""

_RESPONSES = {3: ReadHoldingRegistersResponse, 4: ReadInputRegistersResponse}
_STOP_TIMEOUT_S = 0.5


@dataclass(frozen=True, slots=True)
class Place:
    """Where to listen: an address and a port, or the path of a serial device in place of the address."""

    host: str
    port: int
    transport: str = "tcp"
    serial_settings: str = DEFAULT_SERIAL_SETTINGS

    def __post_init__(self) -> None:
        """Check the transport and the settings.

        Raises:
            ValueError: One of them is unknown.
        """
        if self.transport not in TRANSPORTS:
            raise ValueError(f"transport {self.transport!r} is unknown; allowed: {', '.join(TRANSPORTS)}")
        if not _SERIAL_SETTINGS.fullmatch(self.serial_settings):
            raise ValueError(f"serial settings {self.serial_settings!r} are invalid; an example is 9600 8N1")

    @property
    def is_rtu(self) -> bool:
        """Whether frames have the form of serial lines."""
        return self.transport in {"rtu", "serial"}

    def __str__(self) -> str:
        """Return the place in words, for messages."""
        where = self.host if self.transport == "serial" else f"{self.host}:{self.port}"
        return where if self.transport == "tcp" else f"{where} ({self.transport})"


class ModbusListener:
    """Answers the functions 3 and 4 with what `read` returns, and every other function with exception 1.

    With RTU frames, a unit for which `read` returns exception 0x0B gets no reply: on a serial line it may be another
    device.

    A client must wait for the reply before it sends the next request on the same connection, as Modbus clients do:
    if several requests arrive in one TCP segment, pymodbus answers the first and drops the others.
    """

    def __init__(self, place: Place, read: Read) -> None:
        self._place = place
        self._read = read
        self._thread: threading.Thread | None = None
        self._stop: Callable[[], object] = lambda: None

    def start(self) -> int:
        """Listen in a background thread, and return the port; for a serial line, the port of the place.

        Raises:
            OSError: The server cannot listen on the address.
        """
        listening: Future[int] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(listening)), name="modbus-tcp", daemon=True
        )
        self._thread.start()
        return listening.result()

    def stop(self) -> None:
        """Close the port and all connections."""
        self._stop()
        if self._thread:
            self._thread.join(_STOP_TIMEOUT_S)

    async def _serve(self, listening: Future[int]) -> None:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        try:
            server = _server(self._place, self._read)
            await server.serve_forever(background=True)
            port = _port_of(server) or self._place.port
        except RuntimeError as err:
            listening.set_exception(_why_not_listening(self._place, err))
            return
        except Exception as err:  # noqa: BLE001 - raised again in start(), which waits for it
            listening.set_exception(err)
            return
        self._stop = lambda: loop.call_soon_threadsafe(stopping.set)
        listening.set_result(port)
        await stopping.wait()
        self._stop = lambda: None
        server.close()


def _server(place: Place, read: Read) -> ModbusTcpServer | ModbusUdpServer | ModbusSerialServer:
    """Return pymodbus's server for the place, not yet listening."""
    options: dict[str, Any] = {
        # The constructor requires a device, but it is never used: the request classes below create the replies. A
        # SimDevice has fixed addresses, and its action does not receive the unit id.
        "context": SimDevice(0, SimData(0, datatype=DataType.REGISTERS)),
        "framer": FramerType.RTU if place.is_rtu else FramerType.SOCKET,
        "ignore_missing_devices": True,
        "custom_pdu": [_request_class(code, read, is_rtu=place.is_rtu) for code in range(1, 0x80)],
    }
    if place.transport == "serial":
        found = _SERIAL_SETTINGS.fullmatch(place.serial_settings)
        baud_rate, data_bits, parity, stop_bits = found.groups() if found else ()
        options |= {
            "baudrate": int(baud_rate),
            "bytesize": int(data_bits),
            "parity": parity,
            "stopbits": int(stop_bits),
        }
        return ModbusSerialServer(port=place.host, **options)
    kind = ModbusUdpServer if place.transport == "udp" else ModbusTcpServer
    return kind(address=(place.host, place.port), **options)


def _port_of(server: ModbusTcpServer | ModbusUdpServer | ModbusSerialServer) -> int | None:
    """Return the port on which a server listens; None for a serial line."""
    transport: Any = server.transport
    if isinstance(transport, asyncio.Server):
        return int(transport.sockets[0].getsockname()[1])
    name = transport.get_extra_info("sockname")
    return int(name[1]) if name else None


def _request_class(code: int, read: Read, *, is_rtu: bool) -> type[ModbusPDU]:
    """Return a class for requests with this function code, which accepts data of any length."""

    class Request(ModbusPDU):
        function_code = code
        rtu_byte_count_pos = _BYTE_COUNT_AT.get(code, 0)
        rtu_frame_size = 0 if rtu_byte_count_pos else _RTU_REQUEST_SIZE

        def decode(self, data: bytes) -> None:
            self.data = data

        async def datastore_update(self, context: object, device_id: int) -> ModbusPDU:
            del context
            answer = _answer(device_id, code, self.data, read)
            if is_rtu and answer is ExcCodes.GATEWAY_NO_RESPONSE:
                raise NoSuchIdException  # for which pymodbus sends nothing
            if isinstance(answer, ExcCodes):
                return ExceptionResponse(code, answer)
            return _RESPONSES[code](registers=answer)

    return Request


def _answer(unit_id: int, function_code: int, data: bytes, read: Read) -> list[int] | ExcCodes:
    if function_code not in _RESPONSES:
        return ExcCodes.ILLEGAL_FUNCTION
    try:
        address, count = struct.unpack(">HH", data)
    except struct.error:
        return ExcCodes.ILLEGAL_VALUE
    if not 1 <= count <= MAX_COUNT:
        return ExcCodes.ILLEGAL_VALUE
    return read(unit_id, function_code, address, count)


def _why_not_listening(place: Place, reported: RuntimeError) -> OSError:
    """Return the operating system's error: pymodbus reports only that listening failed."""
    if place.transport == "serial":
        return OSError(_why_not_opened(place.host, reported))
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    kind = socket.SOCK_DGRAM if place.transport == "udp" else socket.SOCK_STREAM
    try:
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((place.host, place.port))
    except OSError as err:
        return err
    return OSError("the address was in use, and is free now: start the server again")


def _why_not_opened(path: str, reported: RuntimeError) -> str:
    try:
        with open(path, "rb", buffering=0):  # noqa: PTH123 - a device, no file
            return f"{reported}; pyserial must be installed"
    except OSError as err:
        return (err.strerror or str(err)).lower()
