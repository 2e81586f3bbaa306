"""The overhead of reading above the time that the devices need: meters with one connection each, and gateways."""

from __future__ import annotations

import asyncio
import gc
import struct
import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, TypeAlias

from benchmarks.results import Row, against, at_most, info
from benchmarks.simulator import Fleet, Simulator
from emm_pipeline.catalog import load_catalogue
from emm_pipeline.dagster_ext.run_processes import OBJECTS_BEFORE_COLLECTION
from emm_pipeline.event_loop import FastLoop, run_fast
from emm_pipeline.fleet import DataType, FunctionCode, MeterType, Register
from emm_pipeline.modbus.fleet_reading import Conditions, read_meters
from emm_pipeline.modbus.kept_sessions import KeptSessions
from emm_pipeline.modbus.planning import plan_requests
from emm_pipeline.modbus.transport.pacing import allowed_connections

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence

    from emm_pipeline.fleet import EnergyMeter
    from emm_pipeline.readings import Request

TURNAROUND_S = 0.02
REGISTERS = 30

ONE_REQUEST = MeterType(
    "bench",
    tuple(
        Register(2 * number, f"value{number}", None, DataType.FLOAT, FunctionCode.READ_HOLDING_REGISTERS)
        for number in range(REGISTERS)
    ),
)

_Stream: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def own_connections(*, quick: bool) -> list[Row]:
    """1000 meters, 30 registers of the SDM630 each, 20 ms per reply, all connections open at once.

    The reference is a lower bound for any client here: the time of each meter's consecutive requests, plus the time
    that plain asyncio streams take for the same connections and bytes. The two are measured alternately.
    """
    meters_count = 200 if quick else 1000
    sdm630 = load_catalogue()["sdm630"].meter_type
    meter_type = MeterType("bench", sdm630.registers[:REGISTERS], sdm630.max_registers_per_request)
    requests = plan_requests(meter_type)
    ours, bare, default = [], [], []
    with Simulator(Fleet(meters_count, turnaround_s=TURNAROUND_S)) as slow, Simulator(Fleet(meters_count)) as fast:
        allowed_connections(meters_count)
        for _ in range(3 if quick else 25):
            bare.append(_timed_bare(fast.meters("bench"), requests))
            ours.append(_timed(slow.meters("bench"), meter_type, meters_count))
            default.append(_timed(slow.meters("bench"), meter_type, 200))
    limit = len(requests) * TURNAROUND_S + median(bare)
    name = f"reading {meters_count} meters with one connection each"
    return [
        against(name, median(ours), limit, "s", 1.3),
        info(f"{name}, 200 at once (MAX_CONNECTIONS)", median(default), "s"),
        info("limit of the simulator, with a new connection per meter", meters_count / median(bare), "meters/s"),
    ]


def one_request(*, quick: bool) -> list[Row]:
    """1000 meters with a connection and one request of 60 registers each, 20 ms per reply, MAX_CONNECTIONS empty.

    The connections are kept between the readings of a run, or opened for each of them. The references are the same
    bytes read with asyncio streams in the same kind of event loop; the four are measured alternately.
    """
    count, rounds = (200, 5) if quick else (1000, 25)
    most_s, most_ms = ((0.08, 0.15), (0.1, 0.16)) if quick else ((0.1, 0.2), (0.06, 0.1))
    loop, kept = FastLoop(), KeptSessions()
    costs: dict[str, list[_Cost]] = defaultdict(list)
    with _garbage_as_in_a_run(), Simulator(Fleet(count, turnaround_s=TURNAROUND_S)) as simulator:
        meters = simulator.meters("bench")
        allowed_connections(2 * count)
        streams = loop.run(_open(meters))
        for _ in range(1 + rounds):
            costs["kept"].append(_cost(loop, lambda: _read(meters, kept)))
            costs["kept, bare"].append(_cost(loop, lambda: _ask_all(streams)))
            costs["opened"].append(_cost(loop, lambda: _read(meters, None)))
            costs["opened, bare"].append(_cost(loop, lambda: _open_and_ask_all(meters)))
        kept.close()
        loop.close()
    rows = []
    for how, seconds, ms in zip(("kept", "opened"), most_s, most_ms, strict=True):
        name = f"reading {count} meters of one request, connections {how}"
        ours, bare = costs[how][1:], costs[f"{how}, bare"][1:]
        rows += [
            at_most(name, median(c.seconds for c in ours), "s", seconds, median(c.seconds for c in bare)),
            at_most(
                *(f"{name}, CPU per meter", 1000 * median(c.cpu_s for c in ours) / count, "ms", ms),
                1000 * median(c.cpu_s for c in bare) / count,
            ),
        ]
    return rows


@dataclass(frozen=True, slots=True)
class _Cost:
    """The cost of one reading of all meters: the time that it took, and the CPU time of this process."""

    seconds: float
    cpu_s: float


def _cost(loop: FastLoop, reading: Callable[[], Coroutine[Any, Any, None]]) -> _Cost:
    began, used = time.perf_counter(), time.process_time()
    loop.run(reading())
    return _Cost(time.perf_counter() - began, time.process_time() - used)


async def _read(meters: Sequence[EnergyMeter], kept: KeptSessions | None) -> None:
    if kept is not None:
        kept.next_is_near = True
    conditions = Conditions(max_connections=None, kept=kept)
    deadline = time.monotonic() + 120
    readings = await read_meters(meters, {"bench": ONE_REQUEST}, deadline=deadline, conditions=conditions)
    assert not any(reading.failure for reading in readings)


async def _open(meters: Iterable[EnergyMeter]) -> list[_Stream]:
    return [await asyncio.open_connection(meter.host, meter.port) for meter in meters]


async def _ask_all(streams: Iterable[_Stream]) -> None:
    await asyncio.gather(*(_ask(*stream) for stream in streams))


async def _open_and_ask_all(meters: Iterable[EnergyMeter]) -> None:
    async def open_and_ask(meter: EnergyMeter) -> None:
        reader, writer = await asyncio.open_connection(meter.host, meter.port)
        await _ask(reader, writer)
        writer.close()

    await asyncio.gather(*map(open_and_ask, meters))


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(struct.pack(">HHHBBHH", 1, 0, 6, 1, FunctionCode.READ_HOLDING_REGISTERS, 0, 2 * REGISTERS))
    await reader.readexactly(9 + 4 * REGISTERS)


@contextmanager
def _garbage_as_in_a_run() -> Iterator[None]:
    """Look for garbage as seldom as in the process of a run."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(OBJECTS_BEFORE_COLLECTION)
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


def gateways(*, quick: bool) -> list[Row]:
    """10 gateways with 30 units each and 50 ms per request, one at a time: the limit is units × requests × time."""
    units, service_s = (6 if quick else 30), 0.05
    meter_type = MeterType(
        "bench",
        tuple(
            Register(address, f"value{address}", None, DataType.FLOAT, FunctionCode.READ_INPUT_REGISTERS)
            for address in (0, 200)
        ),
    )
    requests = plan_requests(meter_type)
    with Simulator(Fleet(10, units, turnaround_s=service_s, one_at_a_time=True)) as simulator:
        took = _timed(simulator.meters("bench"), meter_type, 200)
    limit = units * len(requests) * service_s
    return [against(f"reading 10 gateways of {units} units", took, limit, "s", 1.05)]


def _timed(meters: Sequence[EnergyMeter], meter_type: MeterType, connections: int) -> float:
    conditions = Conditions(max_connections=connections)
    began = time.perf_counter()
    reading = read_meters(meters, {"bench": meter_type}, deadline=time.monotonic() + 120, conditions=conditions)
    samples = run_fast(reading)
    took = time.perf_counter() - began
    assert not any(sample.failure for sample in samples)
    return took


def _timed_bare(meters: Sequence[EnergyMeter], requests: Sequence[Request]) -> float:
    """Time the same connections and bytes with plain asyncio streams."""

    async def ask(meter: EnergyMeter) -> None:
        reader, writer = await asyncio.open_connection(meter.host, meter.port)
        for number, request in enumerate(requests):
            head = (number, 0, 6, meter.unit_id, request.function_code, request.address, request.count)
            writer.write(struct.pack(">HHHBBHH", *head))
            await reader.readexactly(9 + 2 * request.count)
        writer.close()

    async def ask_all() -> None:
        await asyncio.gather(*(ask(meter) for meter in meters))

    began = time.perf_counter()
    asyncio.run(ask_all())
    return time.perf_counter() - began
