"""Modbus servers of other projects, over the transports that each of them has."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import socket
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.ports import free_port
from support.virtual_server import eventually

from emm_pipeline.fleet import GatewayAddress, TransportKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HERE = Path(__file__).parent
UNIT = 7

COILS = tuple(bool(0b1011_0010_1110_1 >> place & 1) for place in range(13))
"""The coils of each server, from address 0 on; the discrete inputs are their opposites."""

DISCRETE_INPUTS = tuple(not coil for coil in COILS)


def need(found: object, what: str) -> None:
    """Skip the test where something is not installed; in CI that is a failure."""
    if not found:
        if os.environ.get("EMM_REQUIRE_SERVERS") == "1":
            pytest.fail(f"{what} is not installed")
        pytest.skip(f"{what} is not installed")


@contextmanager
def process(command: Sequence[str | Path], words: str, **options: object) -> Iterator[None]:
    """Run a server that says when it is ready."""
    with subprocess.Popen(
        [str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options
    ) as server:
        try:
            server.stdin.write(words)
            server.stdin.close()
            assert server.stdout.readline() == "ready\n"
            yield
        finally:
            server.kill()


@contextmanager
def terminals(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Join two pseudo-terminals, as a serial cable does two computers."""
    need(shutil.which("socat"), "socat")
    ends = folder / "ours", folder / "theirs"
    with subprocess.Popen(["socat", *(f"pty,raw,echo=0,link={end}" for end in ends)]) as socat:
        try:
            eventually(lambda: all(end.exists() for end in ends), within_s=20)
            yield ends
        finally:
            socat.kill()


@contextmanager
def converter(folder: Path) -> Iterator[tuple[int, Path]]:
    """A transparent converter: what comes over TCP goes to a serial line unchanged. Yields the port and the line."""
    with terminals(folder) as (ours, theirs):
        port = free_port()
        listening = f"TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork,max-children=1"
        with subprocess.Popen(["socat", listening, f"FILE:{ours},raw,echo=0"]) as socat:
            try:
                yield port, theirs
            finally:
                socat.kill()


def tcp(port: int) -> GatewayAddress:
    return GatewayAddress("127.0.0.1", port)


def serial_line(path: Path) -> GatewayAddress:
    return GatewayAddress(str(path), 1, TransportKind.SERIAL, "9600 8N1")


@contextmanager
def libmodbus_tcp(words: Sequence[int], folder: Path) -> Iterator[GatewayAddress]:
    port = free_port()
    with process([_compiled(folder), "tcp", str(port), str(UNIT)], _lines(words)):
        yield tcp(port)


@contextmanager
def libmodbus_serial(words: Sequence[int], folder: Path) -> Iterator[GatewayAddress]:
    with terminals(folder) as (ours, theirs), process([_compiled(folder), "rtu", theirs, str(UNIT)], _lines(words)):
        yield serial_line(ours)


@contextmanager
def libmodbus_rtu_over_tcp(words: Sequence[int], folder: Path) -> Iterator[GatewayAddress]:
    with (
        converter(folder) as (port, line),
        process([_compiled(folder), "rtu", line, str(UNIT)], _lines(words)),
    ):
        yield tcp(port)._replace(transport=TransportKind.RTU)


def _compiled(folder: Path) -> Path:
    need(shutil.which("cc") and Path("/usr/include/modbus/modbus.h").exists(), "libmodbus-dev")
    program = folder / "libmodbus_server"
    source = HERE / "libmodbus_server.c"
    subprocess.run(["cc", "-I/usr/include/modbus", "-o", program, source, "-lmodbus"], check=True)
    return program


def _lines(words: Sequence[int]) -> str:
    """The input of the C program: numbers of bits and registers, then the bits and the registers."""
    numbers = (len(COILS), len(words) // 2, *map(int, COILS + DISCRETE_INPUTS), *words)
    return "".join(f"{number}\n" for number in numbers)


@contextmanager
def modbus_tk_tcp(words: Sequence[int], folder: Path) -> Iterator[GatewayAddress]:
    from modbus_tk.modbus_tcp import TcpServer

    port = free_port()
    with _modbus_tk(TcpServer(port=port, address="127.0.0.1"), words):
        eventually(lambda: _listens(port), within_s=20)
        yield tcp(port)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def modbus_tk_serial(words: Sequence[int], folder: Path) -> Iterator[GatewayAddress]:
    from modbus_tk.modbus_rtu import RtuServer
    from serial import Serial

    with terminals(folder) as (ours, theirs), _modbus_tk(RtuServer(Serial(str(theirs), 9600)), words):
        yield serial_line(ours)


@contextmanager
def _modbus_tk(server: object, words: Sequence[int]) -> Iterator[None]:
    from modbus_tk import defines

    logging.getLogger("modbus_tk").setLevel(logging.CRITICAL)
    half = len(words) // 2
    unit = server.add_slave(UNIT)
    for name, kind, content in (
        ("coils", defines.COILS, [int(bit) for bit in COILS]),
        ("discrete inputs", defines.DISCRETE_INPUTS, [int(bit) for bit in DISCRETE_INPUTS]),
        ("holding", defines.HOLDING_REGISTERS, words[:half]),
        ("input", defines.READ_INPUT_REGISTERS, words[half:]),
    ):
        unit.add_block(name, kind, 0, len(content))
        unit.set_values(name, 0, list(content))
    server.start()
    try:
        yield
    finally:
        server.stop()


@contextmanager
def py_modbus_tcp(words: Sequence[int], folder: Path) -> Iterator[GatewayAddress]:
    from pyModbusTCP.server import ModbusServer

    port, half = free_port(), len(words) // 2
    server = ModbusServer("127.0.0.1", port, no_block=True)
    server.data_bank.set_coils(0, list(COILS))
    server.data_bank.set_discrete_inputs(0, list(DISCRETE_INPUTS))
    server.data_bank.set_holding_registers(0, list(words[:half]))
    server.data_bank.set_input_registers(0, list(words[half:]))
    server.start()
    try:
        yield tcp(port)
    finally:
        server.stop()


@contextmanager
def pymodbus_udp(words: Sequence[int], folder: Path) -> Iterator[GatewayAddress]:
    from pymodbus.server import ModbusUdpServer
    from pymodbus.simulator import DataType, SimData, SimDevice

    half, port = len(words) // 2, free_port()
    holding = [SimData(0, values=list(words[:half]), datatype=DataType.REGISTERS)]
    inputs = [SimData(0, values=list(words[half:]), datatype=DataType.REGISTERS)]
    coils = [SimData(0, values=list(COILS), datatype=DataType.BITS)]
    discrete_inputs = [SimData(0, values=list(DISCRETE_INPUTS), datatype=DataType.BITS)]
    device = SimDevice(UNIT, simdata=(coils, discrete_inputs, holding, inputs))
    loop, ready = asyncio.new_event_loop(), threading.Event()

    async def serve() -> None:
        server = ModbusUdpServer(device, address=("127.0.0.1", port))
        await server.serve_forever(background=True)
        ready.set()

    thread = threading.Thread(target=lambda: (loop.run_until_complete(serve()), loop.run_forever()), daemon=True)
    thread.start()
    assert ready.wait(20)
    try:
        yield GatewayAddress("127.0.0.1", port, TransportKind.UDP)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


@contextmanager
def modbus_serial_tcp(words: Sequence[int], folder: Path) -> Iterator[GatewayAddress]:
    port = free_port()
    with _modbus_serial(str(port), words):
        yield tcp(port)


@contextmanager
def modbus_serial_line(words: Sequence[int], folder: Path) -> Iterator[GatewayAddress]:
    with terminals(folder) as (ours, theirs), _modbus_serial(str(theirs), words):
        yield serial_line(ours)


@contextmanager
def modbus_serial_rtu_over_tcp(words: Sequence[int], folder: Path) -> Iterator[GatewayAddress]:
    with converter(folder) as (port, line), _modbus_serial(str(line), words):
        yield tcp(port)._replace(transport=TransportKind.RTU)


@contextmanager
def _modbus_serial(place: str, words: Sequence[int]) -> Iterator[None]:
    need(shutil.which("node"), "node")
    modules = os.environ.get("NODE_PATH") or str(HERE.parents[1] / "node_modules")
    if not (Path(modules) / "modbus-serial").exists():
        # Not `need`: the project is not at fault if a registry cannot be reached today.
        pytest.skip("npm's modbus-serial is not installed: npm install --no-save modbus-serial@8.0.25")
    command = ["node", HERE / "modbus_serial_server.js", place, str(UNIT)]
    content = {"words": list(words), "coils": COILS, "discreteInputs": DISCRETE_INPUTS}
    with process(command, json.dumps(content), env=os.environ | {"NODE_PATH": modules}):
        yield


SERVERS = {
    "libmodbus, TCP": libmodbus_tcp,
    "libmodbus, serial line": libmodbus_serial,
    "libmodbus, RTU over TCP": libmodbus_rtu_over_tcp,
    "modbus-tk, TCP": modbus_tk_tcp,
    "modbus-tk, serial line": modbus_tk_serial,
    "pyModbusTCP, TCP": py_modbus_tcp,
    "pymodbus, UDP": pymodbus_udp,
    "npm modbus-serial, TCP": modbus_serial_tcp,
    "npm modbus-serial, serial line": modbus_serial_line,
    "npm modbus-serial, RTU over TCP": modbus_serial_rtu_over_tcp,
}
