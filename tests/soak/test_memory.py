"""EMM polls 200 meters every ten seconds for two hours: no process grows in memory or descriptors.

EMM_SOAK_MINUTES sets another duration, EMM_SOAK_CSV a file that keeps the measurements;
`python -m soak.memory FILE` (in tests/) prints its table.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from soak import memory
from support.meters import SimulatedUnit
from support.postgres import postgres_folder
from support.stack import Stack

MINUTES = float(os.environ.get("EMM_SOAK_MINUTES", "120"))
EVERY_S = 10.0
GATEWAYS, UNITS_EACH = 20, 10

MIB_PER_HOUR = 1.0
"""Largest slope in MiB per hour that a process may have over the second half; a process with a leak grew by 25."""
DESCRIPTORS_PER_HOUR = 2.0


@pytest.fixture
def stack(simulated_gateway) -> Iterator[Stack]:
    """The real daemon, webserver, code server and PostgreSQL, with all schedules on."""
    environment = {"READINGS_STORE": "postgresql", "INFLUX_UPDATER_CRON_SECOND_TRIGGER": "*/10", "TZ": "UTC"}
    unit = SimulatedUnit({(4, address): 0 for address in range(80)})
    with postgres_folder() as folder, Stack(folder, environment) as stack:
        for number in range(GATEWAYS):
            gateway = simulated_gateway(dict.fromkeys(range(1, UNITS_EACH + 1), unit))
            for unit_id in range(1, UNITS_EACH + 1):
                stack.add_meter(number * UNITS_EACH + unit_id, gateway.port, unit_id)
        yield stack


def processes_of(stack: Stack) -> dict[str, psutil.Process]:
    found = stack.processes()
    try:
        return found | dict(zip(["fork server"], stack.fork_servers(), strict=False))
    except psutil.Error:  # a run ended while its parent was looked up
        return found


def look_at_the_pages(stack: Stack) -> None:
    """Send the queries that an open page of Dagster sends every few seconds."""
    stack.ui.runs()
    stack.ui.partitions()
    stack.ui.ticks("poll_schedule")


@pytest.mark.soak
@pytest.mark.timeout(MINUTES * 60 + 600)
def test_no_process_grows_while_200_meters_are_polled_every_ten_seconds(stack, tmp_path):
    path = Path(os.environ.get("EMM_SOAK_CSV", tmp_path / "memory.csv"))
    rounds = memory.record(lambda: processes_of(stack), path, MINUTES * 60, EVERY_S)
    for _ in rounds:
        look_at_the_pages(stack)
    rows = memory.trends(memory.read(path))
    print(f"\n{MINUTES:g} minutes, {path}:\n{memory.render(rows)}")
    with stack.engine.connect() as connection:
        fleet_readings = connection.exec_driver_sql(
            "SELECT count(DISTINCT time) FROM readings WHERE id = 1"
        ).scalar_one()
    assert fleet_readings > (MINUTES - 4) * 6 * 0.8, "it polled all the while"
    assert {row.process for row in rows} == {"code_server", "fork server", "webserver", "daemon", "postgres"}
    growing = [row for row in rows if row.slope_mib > MIB_PER_HOUR or row.slope_descriptors > DESCRIPTORS_PER_HOUR]
    assert not growing, memory.render(growing)
