"""The Modbus TCP listener of a virtual server: a pymodbus server in a thread, which answers from one function."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable
from concurrent.futures import Future

from pymodbus.constants import ExcCodes
from pymodbus.pdu import ExceptionResponse, ModbusPDU
from pymodbus.pdu.register_message import ReadHoldingRegistersResponse, ReadInputRegistersResponse
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

MAX_COUNT = 125
"""Maximum number of registers in one reply."""

Read = Callable[[int, int, int, int], list[int] | ExcCodes]
"""(unit_id, function_code, register_address, count) -> the registers, or the exception code of the reply.

Called in the server's thread for each request, so it must not block.
"""

_RESPONSES = {3: ReadHoldingRegistersResponse, 4: ReadInputRegistersResponse}
_STOP_TIMEOUT_S = 0.5


class ModbusTcpListener:
    """Answers the functions 3 and 4 with what `read` returns, and every other function with exception 1.

    A client must wait for the reply before it sends the next request on the same connection, as Modbus clients do:
    if several requests arrive in one TCP segment, pymodbus answers the first and drops the others.
    """

    def __init__(self, host: str, port: int, read: Read) -> None:
        self._host = host
        self._port = port
        self._read = read
        self._thread: threading.Thread | None = None
        self._stop: Callable[[], object] = lambda: None

    def start(self) -> int:
        """Listen in a background thread, and return the port.

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
            server = ModbusTcpServer(
                # The constructor requires a device, but it is never used: the request classes below create the
                # replies. A SimDevice has fixed addresses, and its action does not receive the unit id.
                SimDevice(0, SimData(0, datatype=DataType.REGISTERS)),
                address=(self._host, self._port),
                custom_pdu=[_request_class(code, self._read) for code in range(1, 0x80)],
            )
            await server.serve_forever(background=True)
            assert isinstance(server.transport, asyncio.Server)  # noqa: S101 - narrower than pymodbus's annotation
            port = server.transport.sockets[0].getsockname()[1]
        except RuntimeError:
            listening.set_exception(_why_not_listening(self._host, self._port))
            return
        except Exception as err:  # noqa: BLE001 - raised again in start(), which waits for it
            listening.set_exception(err)
            return
        self._stop = lambda: loop.call_soon_threadsafe(stopping.set)
        listening.set_result(port)
        await stopping.wait()
        self._stop = lambda: None
        server.close()


def _request_class(code: int, read: Read) -> type[ModbusPDU]:
    """Return a class for requests with this function code, which accepts data of any length."""

    class Request(ModbusPDU):
        function_code = code

        def decode(self, data: bytes) -> None:
            self.data = data

        async def datastore_update(self, context: object, device_id: int) -> ModbusPDU:
            del context
            answer = _answer(device_id, code, self.data, read)
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


def _why_not_listening(host: str, port: int) -> OSError:
    """Return the operating system's error: pymodbus reports only that listening failed."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as err:
        return err
    return OSError("the address was in use, and is free now: start the server again")
