"""Serial lines and datagrams for tests: units on a pair of pseudo-terminals, and a gateway that speaks UDP.

Written with struct and the checksum of `meters`: neither pymodbus nor EMM's own framing is used.
"""

from __future__ import annotations

import os
import pty
import select
import socket
import struct
import threading
import tty
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from support.meters import crc

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Words = "Callable[[int, int], int | None]"


def answer(units: Mapping[int, Words], request: bytes) -> bytes | None:
    """Return the reply to a request without its framing (unit id, function code, address, count); None for silence."""
    unit_id, function_code, address, count = struct.unpack(">BBHH", request)
    if unit_id not in units:
        return None
    words = [units[unit_id](function_code, each) for each in range(address, address + count)]
    if None in words:
        return struct.pack(">BBB", unit_id, function_code | 0x80, 2)
    return struct.pack(f">BBB{count}H", unit_id, function_code, 2 * count, *words)


class _Thread:
    """A device that answers in its own thread."""

    def __enter__(self) -> Self:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._close()

    def _run(self) -> None:
        raise NotImplementedError

    def _close(self) -> None:
        raise NotImplementedError


class SerialLine(_Thread):
    """A serial line with units on it; `path` is its device. A context manager."""

    def __init__(
        self,
        units: Mapping[int, Words],
        *,
        reply: Callable[[bytes], bytes] = lambda frame: frame,
        echoes: bool = False,
    ) -> None:
        self._units, self._reply = units, reply
        self._echoes = echoes
        """Whether each request comes back before the reply, as from an adapter that receives while it sends."""
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)
        self.requests: list[bytes] = []

    def send(self, data: bytes) -> None:
        """Put bytes onto the line."""
        os.write(self._master, data)

    def _run(self) -> None:
        received = b""
        while not self._ended.is_set():
            if not select.select([self._master], [], [], 0.01)[0]:
                received = b""  # the silence between two frames
                continue
            received += os.read(self._master, 256)
            while len(received) >= 8:
                frame, received = received[:8], received[8:]
                if crc(frame[:-2]) == frame[-2:]:
                    self.requests.append(frame)
                    if self._echoes:
                        self.send(frame)
                    if reply := answer(self._units, frame[:-2]):
                        self.send(self._reply(reply + crc(reply)))

    def _close(self) -> None:
        os.close(self._master)
        os.close(self._slave)


class UdpGateway(_Thread):
    """A gateway that takes Modbus TCP's frames as datagrams, at `host`, `port`. A context manager."""

    host = "127.0.0.1"

    def __init__(self, units: Mapping[int, Words], *, loses: Callable[[int], bool] = lambda _: False) -> None:
        self._units, self._loses = units, loses
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((self.host, 0))
        self._socket.settimeout(0.01)
        self.port = self._socket.getsockname()[1]
        self.requests = 0

    def _run(self) -> None:
        while not self._ended.is_set():
            with suppress(TimeoutError):
                frame, client = self._socket.recvfrom(300)
                self.requests += 1
                reply = answer(self._units, frame[6:12])
                if reply and not self._loses(self.requests):
                    self._socket.sendto(frame[:4] + struct.pack(">H", len(reply)) + reply, client)

    def _close(self) -> None:
        self._socket.close()
