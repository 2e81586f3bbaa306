"""Helpers for the tests of the virtual Modbus TCP server: a bare client, and waiting with a deadline."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import time
from typing import TYPE_CHECKING, Self, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

READ_HOLDING, READ_INPUT = 3, 4

T = TypeVar("T")


class ModbusError(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(f"exception code {code}")
        self.code = code


class BareClient:
    """A Modbus TCP client with `struct` only, so that it shares no library with the server."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._transaction = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._socket.close()

    def request(self, unit_id: int, pdu: bytes) -> bytes:
        """Send one request, and return the reply's PDU; raises ModbusError for an exception reply."""
        self._transaction += 1
        self._socket.sendall(struct.pack(">HHHB", self._transaction, 0, len(pdu) + 1, unit_id) + pdu)
        transaction, protocol, length, unit = struct.unpack(">HHHB", self._receive(7))
        assert (transaction, protocol, unit) == (self._transaction, 0, unit_id)
        reply = self._receive(length - 1)
        assert reply[0] & 0x7F == pdu[0]
        if reply[0] & 0x80:
            raise ModbusError(reply[1])
        return reply

    def read(self, address: int, count: int = 1, *, unit_id: int = 0, function_code: int = READ_HOLDING) -> bytes:
        reply = self.request(unit_id, struct.pack(">BHH", function_code, address, count))
        assert reply[1] == 2 * count == len(reply) - 2
        return reply[2:]

    def _receive(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self._socket.recv(count - len(data))
            if not more:
                raise ConnectionError("closed by the server")
            data += more
        return data


def read(port: int, address: int, count: int = 1, *, unit_id: int = 0, function_code: int = READ_HOLDING) -> bytes:
    with BareClient(port) as client:
        return client.read(address, count, unit_id=unit_id, function_code=function_code)


def exception_code(port: int, address: int, count: int = 1, *, unit_id: int = 0, function_code: int = 3) -> int | None:
    """Return the exception code of the reply to a read, or None if it contains data."""
    try:
        read(port, address, count, unit_id=unit_id, function_code=function_code)
    except ModbusError as err:
        return err.code
    return None


def eventually(check: Callable[[], T], within_s: float = 60) -> T:
    """Return the first true result of `check`; fail if there is none in time."""
    deadline = time.monotonic() + within_s
    while not (result := check()):
        assert time.monotonic() < deadline, f"not within {within_s} s"
        time.sleep(0.02)
    return result


def mbpoll(port: int, *arguments: str) -> str:
    """Return the output of `mbpoll`, a client that uses libmodbus, for one poll."""
    program = shutil.which("mbpoll")
    if not program:
        reason = "mbpoll is not installed: apt-get install mbpoll"
        if os.environ.get("EMM_REQUIRE_SERVERS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    command = [program, "-0", "-1", "-p", str(port), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr
