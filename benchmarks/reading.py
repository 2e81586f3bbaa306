"""The overhead of reading above the time that the devices need: meters with one connection each, and gateways."""

from __future__ import annotations

import asyncio
import struct
import time
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.results import Row, against, info
from benchmarks.simulator import Fleet, Simulator
from emm_pipeline.catalog import load_catalogue
from emm_pipeline.event_loop import run_fast
from emm_pipeline.fleet import DataType, FunctionCode, MeterType, Register
from emm_pipeline.modbus.fleet_reading import Conditions, read_meters
from emm_pipeline.modbus.planning import plan_requests
from emm_pipeline.modbus.transport.pacing import allowed_connections

if TYPE_CHECKING:
    from collections.abc import Sequence

    from emm_pipeline.fleet import EnergyMeter
    from emm_pipeline.readings import Request

TURNAROUND_S = 0.02
REGISTERS = 30


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
