"""A fleet of simulated meters in one process, fast enough not to limit the measurements.

Each gateway has its own loopback address 127.x.y.z, and all share one port, so that one socket listens for all of them.
The values are a function of meter, register and time (`value_of`) and exact in 32-bit floats, so that stored values can
be checked.

    with Simulator(Fleet(gateways=1000)) as simulator:
        meters = simulator.meters("type")     # EnergyMeter records
        ...
        simulator.requests, simulator.registers, simulator.first_request(minute)
"""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import resource
import socket
import struct
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Self

from emm_pipeline.event_loop import run_fast
from emm_pipeline.fleet import EnergyMeter

if TYPE_CHECKING:
    from datetime import datetime
    from multiprocessing.sharedctypes import Synchronized, SynchronizedArray

_REQUEST = struct.Struct(">HHHBBHH")
_FIRST_HOST = 1 << 16
"""127.1.0.0 is the first gateway."""
_SECONDS = 100
"""Values repeat after this number of seconds."""
_MINUTES = 64
"""Number of minutes for which the time of the first request is kept."""
_STEPS = 900
"""Meters whose numbers differ by a multiple of this have the same values; stored points differ in their id."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """The simulated fleet. Shares are fractions, from 0 to 1, of all units or requests.

    A reply takes `turnaround_s` plus a random time of up to `jitter_s`. With a `baud` rate, the time for the bytes of
    request and reply on a serial line is added. With `one_at_a_time`, a gateway processes one request at a time.
    """

    gateways: int
    units: int = 1
    turnaround_s: float = 0.0
    jitter_s: float = 0.0
    baud: int | None = None
    one_at_a_time: bool = False
    dead_share: float = 0.0
    lost_share: float = 0.0
    refused_addresses: frozenset[int] = field(default_factory=frozenset)


def host_of(gateway: int) -> str:
    """Return the loopback address of a gateway, counted from 0."""
    number = _FIRST_HOST + gateway
    return f"127.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def value_of(meter: int, register_address: int, second: int) -> float:
    """Return the value of a FLOAT register of a meter (counted from 0) at a Unix time in seconds."""
    return float((meter % _STEPS * _SECONDS + second % _SECONDS) * 100 + register_address % 100)


def is_value_of(meter: int, register_address: int, time_s: float, value: float) -> bool:
    """Whether a reply to a request at that time may hold the value; it may come until the timeout of 3 s."""
    first = int(time_s)
    return any(value == value_of(meter, register_address, first + later) for later in range(4))


class Simulator:
    """A context manager that runs a fleet in a separate process."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self._requests: Synchronized[int] = multiprocessing.Value("Q", 0, lock=False)  # type: ignore[assignment]
        self._registers: Synchronized[int] = multiprocessing.Value("Q", 0, lock=False)  # type: ignore[assignment]
        self._firsts: SynchronizedArray[float] = multiprocessing.Array("d", _MINUTES, lock=False)  # type: ignore[assignment]
        self._process: multiprocessing.Process | None = None
        self.port = 0

    @property
    def requests(self) -> int:
        """Number of requests received so far."""
        return self._requests.value

    @property
    def registers(self) -> int:
        """Number of registers requested so far."""
        return self._registers.value

    def first_request(self, minute: datetime) -> float:
        """Return the Unix time of the first request in a minute, one of the last hour.

        Raises:
            ValueError: There was none.
        """
        first = self._firsts[int(minute.timestamp()) // 60 % _MINUTES]
        if not minute.timestamp() <= first < minute.timestamp() + 60:
            raise ValueError(f"no request was received in the minute {minute}")
        return first

    def __enter__(self) -> Self:
        listener = socket.create_server(("0.0.0.0", 0), backlog=4096)  # noqa: S104 - all of 127.0.0.0/8
        self.port = listener.getsockname()[1]
        arguments = (listener, self.fleet, _Counts(self._requests, self._registers, self._firsts))
        self._process = multiprocessing.get_context("fork").Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        listener.close()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process:
            self._process.kill()
            self._process.join()

    def meters(self, type_name: str) -> list[EnergyMeter]:
        """Return the meters of the fleet. Ids start at 0; `value_of` takes the id as meter."""
        units = self.fleet.units
        return [
            EnergyMeter(gateway * units + unit, host_of(gateway), self.port, unit + 1, type_name)
            for gateway in range(self.fleet.gateways)
            for unit in range(units)
        ]


@dataclass(frozen=True, slots=True)
class _Counts:
    """Counts of the requests that the simulator's process has received, in memory that is shared with the benchmark.

    `firsts` has the Unix time of the first request of each of the last minutes.
    """

    requests: Synchronized[int]
    registers: Synchronized[int]
    firsts: SynchronizedArray[float]

    def note(self, registers: int) -> None:
        """Count a request that has just been received."""
        self.requests.value += 1
        self.registers.value += registers
        now = time.time()
        minute = int(now) // 60 % _MINUTES
        if self.firsts[minute] < now - 60:  # of an hour ago
            self.firsts[minute] = now


def _serve(listener: socket.socket, fleet: Fleet, counts: _Counts) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        busy_until: dict[int, float] = {}
        answer = partial(_Gateway, fleet, busy_until, counts)
        server = await loop.create_server(answer, sock=listener, backlog=4096)
        await server.serve_forever()

    run_fast(serve())


class _Gateway(asyncio.Protocol):
    """One connection to a gateway."""

    def __init__(self, fleet: Fleet, busy_until: dict[int, float], counts: _Counts) -> None:
        self._fleet = fleet
        self._busy_until = busy_until
        self._counts = counts
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # it can be written to
        a, b, c = (int(part) for part in transport.get_extra_info("sockname")[0].split(".")[1:])
        self._gateway = (a << 16 | b << 8 | c) - _FIRST_HOST
        self._loop = asyncio.get_running_loop()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= _REQUEST.size:
            frame, self._buffer = self._buffer[: _REQUEST.size], self._buffer[_REQUEST.size :]
            self._answer(*_REQUEST.unpack(frame))

    def _answer(self, transaction: int, _p: int, _l: int, unit: int, function: int, address: int, count: int) -> None:
        fleet = self._fleet
        self._counts.note(count)
        meter = self._gateway * fleet.units + unit - 1
        if fleet.dead_share and meter % round(1 / fleet.dead_share) == 0:
            return
        if fleet.lost_share and random.random() < fleet.lost_share:  # noqa: S311
            return
        delay = fleet.turnaround_s + (random.uniform(0, fleet.jitter_s) if fleet.jitter_s else 0.0)  # noqa: S311
        if fleet.baud:
            delay += (8 + 5 + 2 * count) * 11 / fleet.baud
        now = self._loop.time()
        at = now + delay
        if fleet.one_at_a_time:
            at = max(now, self._busy_until.get(self._gateway, 0.0)) + delay
            self._busy_until[self._gateway] = at
        reply = self._reply(transaction, unit, function, address, count, meter, at - now)
        if at <= now:
            self._transport.write(reply)
        else:
            self._loop.call_at(at, self._transport.write, reply)

    def _reply(
        self, transaction: int, unit: int, function: int, address: int, count: int, meter: int, delay: float
    ) -> bytes:
        refused = self._fleet.refused_addresses
        if refused and not refused.isdisjoint(range(address, address + count)):
            return struct.pack(">HHHBBB", transaction, 0, 3, unit, function | 0x80, 2)
        second = int(time.time() + delay)
        base = (meter % _STEPS * _SECONDS + second % _SECONDS) * 100
        floats = [base + a % 100 for a in range(address, address + count - 1, 2)]
        data = struct.pack(f">{len(floats)}f", *floats) + b"\0\0" * (count % 2)
        return struct.pack(">HHHBBB", transaction, 0, 3 + len(data), unit, function, len(data)) + data
