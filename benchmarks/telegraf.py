"""Telegraf with the bare poller's task: it reads the same meters, and writes a line with all values of a meter.

It is an InfluxDB client in Go with a plugin for Modbus, and keeps connections open. It is measured if it is on PATH.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import psutil

from benchmarks.simulator import host_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.bare_poller import Task

MEASUREMENT = "telegraf"

_START_S = 10.0
"""Seconds after which all connections are open, and the first samples were read."""

_CONFIGURATION = """
[agent]
  interval = "{interval_s:g}s"
  flush_interval = "{interval_s:g}s"
  metric_batch_size = 1000
  omit_hostname = true
  quiet = true
[[outputs.influxdb_v2]]
  urls = ["{url}"]
  token = "{token}"
  organization = "{org}"
  bucket = "{bucket}"
  content_encoding = "gzip"
"""
_METER = """
[[inputs.modbus]]
  name = "{number}"
  name_override = "{measurement}"
  slave_id = 1
  timeout = "3s"
  controller = "tcp://{host}:{port}"
  holding_registers = [{registers}]
"""
_REGISTER = (
    '{{name = "value{address}", byte_order = "ABCD", data_type = "FLOAT32", scale = 1.0, '
    "address = [{address}, {last}]}}"
)


def telegraf_per_meter_and_sample(task: Task) -> float | None:
    """Return Telegraf's CPU seconds per meter and sample, without its start; None if it is not on PATH."""
    program = shutil.which("telegraf")
    if program is None:
        print("Telegraf is not on PATH, and therefore not measured")
        return None
    with _running(program, task) as process:
        time.sleep(_START_S)
        before = process.cpu_times()
        time.sleep(task.samples * task.interval_s)
        after = process.cpu_times()
        assert process.status() != psutil.STATUS_ZOMBIE, "Telegraf has ended"
    return (after.user + after.system - before.user - before.system) / task.samples / task.meters


@contextmanager
def _running(program: str, task: Task) -> Iterator[psutil.Process]:
    with tempfile.TemporaryDirectory(prefix="emm-bench-") as folder:
        configuration = Path(folder) / "telegraf.conf"
        configuration.write_text(_configuration(task), encoding="utf-8")
        process = subprocess.Popen([program, "--config", str(configuration)])  # noqa: S603
        try:
            yield psutil.Process(process.pid)
        finally:
            process.kill()
            process.wait()


def _configuration(task: Task) -> str:
    url = urlsplit(task.url)
    query = {key: values[0] for key, values in parse_qs(url.query).items()}
    registers = ", ".join(
        _REGISTER.format(address=address, last=address + 1) for address in range(0, 2 * task.registers, 2)
    )
    parts = [
        _CONFIGURATION.format(
            interval_s=task.interval_s,
            url=f"{url.scheme}://{url.netloc}",
            token=task.token,
            org=query["org"],
            bucket=query["bucket"],
        )
    ]
    parts += [
        _METER.format(measurement=MEASUREMENT, number=number, host=host_of(number), port=task.port, registers=registers)
        for number in range(task.meters)
    ]
    return "".join(parts)
