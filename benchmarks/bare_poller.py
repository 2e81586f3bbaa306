"""The least that a poller in Python needs: connections kept, NumPy, line protocol, gzip, one POST per 5000 lines.

It has no outbox, no status, no history, and checks nothing that a device may do wrong. Run as a process of its own:
`python -m benchmarks.bare_poller '{"port": …}'` with the fields of `Task` prints its CPU seconds per meter and sample.
"""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import struct
import subprocess
import sys
import time
import urllib.request
from dataclasses import asdict, dataclass

import numpy as np
import uvloop

from benchmarks.simulator import host_of
from emm_pipeline.settings import PROJECT_ROOT

LINES_PER_POST = 5000
_HEADER = 9


@dataclass(frozen=True, slots=True)
class Task:
    """The meters to read, and where to write their values.

    The meters are the gateways of the simulator, with FLOAT registers from 0 on.
    """

    port: int
    meters: int
    registers: int
    samples: int
    interval_s: float
    url: str
    token: str


def cpu_per_meter_and_sample(task: Task) -> float:
    """Run the poller, and return its CPU seconds per meter and sample, without its start."""
    command = [sys.executable, "-m", "benchmarks.bare_poller", json.dumps(asdict(task))]
    done = subprocess.run(command, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603
    return float(done.stdout)


async def poll(task: Task) -> float:
    """Poll, and return the CPU seconds per meter and sample."""
    opened = [await asyncio.open_connection(host_of(number), task.port) for number in range(task.meters)]
    heads = [f"value{2 * number},dataunit=V,id=" for number in range(task.registers)]
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)  # as in the process of a run
    began = time.process_time()
    for _ in range(task.samples):
        at = time.time()
        replies = await asyncio.gather(*(_read(reader, writer, task.registers) for reader, writer in opened))
        values = np.frombuffer(b"".join(replies), ">f4").astype(np.float64).reshape(task.meters, task.registers)
        stamp = f" {int(at * 1000)}\n"
        lines = [
            f"{head}{meter} value={value!r}{stamp}"
            for meter, row in enumerate(values.tolist())
            for head, value in zip(heads, row, strict=True)
        ]
        for start in range(0, len(lines), LINES_PER_POST):
            _post(task, "".join(lines[start : start + LINES_PER_POST]))
        await asyncio.sleep(max(0.0, at + task.interval_s - time.time()))
    return (time.process_time() - began) / task.samples / task.meters


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, registers: int) -> bytes:
    writer.write(struct.pack(">HHHBBHH", 1, 0, 6, 1, 3, 0, 2 * registers))
    reply = await reader.readexactly(_HEADER + 4 * registers)
    return reply[_HEADER:]


def _post(task: Task, lines: str) -> None:
    headers = {"Authorization": f"Token {task.token}", "Content-Encoding": "gzip"}
    request = urllib.request.Request(task.url, gzip.compress(lines.encode(), 1), headers)  # noqa: S310 - our InfluxDB
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        answer.read()


if __name__ == "__main__":
    print(uvloop.run(poll(Task(**json.loads(sys.argv[1])))))
