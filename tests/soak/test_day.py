"""The size of the database and the disk over a simulated day of polls, with history kept for two hours.

1440 polls of 100 meters and as many discoveries are executed in this process, with the real storage. After the runs of
each hour, all rows and files are made an hour older, and the hourly prune runs.
"""

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from dagster import DagsterInstance
from soak.table import SoakRow, publish
from sqlalchemy import text
from support.meters import SimulatedUnit
from support.ports import free_port

from emm_pipeline.defs.runs import ScheduledPoll
from emm_pipeline.polling.sharding import Shard
from emm_pipeline.polling.timing import Window
from emm_pipeline.settings import current_settings

HOURS = int(os.environ.get("EMM_SOAK_HOURS", "24"))
SETTLED = 4
"""The hour after which no size may grow: by then there are two hours of history, and PostgreSQL reuses space."""
UNITS = 99
"""One more meter is a closed port."""
MAY_GROW = 1.15

SIZES = text("""
    SELECT relname, pg_total_relation_size(oid) FROM pg_class
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname NOT IN ('readings', 'emm_poll')
""")
"""Sizes of all tables except the readings themselves, which are kept."""


@pytest.fixture
def fleet(pipeline, simulated_gateway, monkeypatch):
    """100 meters behind ten gateways, and a closed port; autovacuum of PostgreSQL checks every second."""
    monkeypatch.setenv("RUN_RETENTION_HOURS", "2")
    current_settings.cache_clear()
    with pipeline.instance.event_log_storage.index_connection() as connection:
        # The default is a minute, but here a day passes in a hundredth of its time.
        connection.execute(text("ALTER SYSTEM SET autovacuum_naptime = '1s'"))
        connection.execute(text("SELECT pg_reload_conf()"))
    gateways = [simulated_gateway(dict.fromkeys(range(10), unit())) for _ in range(10)]
    for id_ in range(1, UNITS + 1):
        pipeline.add_meter(id_, gateways[id_ % 10].port, unit_id=id_ % 10)
    pipeline.add_meter(UNITS + 1, free_port())
    yield gateways
    with pipeline.instance.event_log_storage.index_connection() as connection:
        connection.execute(text("ALTER SYSTEM RESET autovacuum_naptime"))


def unit() -> SimulatedUnit:
    return SimulatedUnit({(4, address): 0 for address in range(80)})


@pytest.mark.soak
def test_database_and_disk_stay_flat_over_a_day_with_two_hours_of_history(pipeline, fleet):
    pipeline.run("discovery")
    sizes: list[dict[str, int]] = []
    pruning = 0.0
    red = 0
    for hour in range(1, HOURS + 1):
        for _ in range(60):
            now = datetime.now(UTC)
            assert pipeline.run("discovery").success
            window = Window(now, now + timedelta(seconds=57))
            result = pipeline.run("poll", tags=ScheduledPoll(Shard(), window).tags())
            red += not result.success
            assert red == 1, "meter 100 begins to fail once"
        an_hour_passes(pipeline)
        began = time.monotonic()
        assert pipeline.run("prune").success
        pruning = max(pruning, time.monotonic() - began)
        sizes.append(measure(pipeline, hour))
    print(f"the longest prune took {pruning:.1f} s")

    assert pipeline.statuses() == {"materialized": set(map(str, range(1, UNITS + 1))), "failed": {str(UNITS + 1)}}
    for what in ("dagster", "configuration", "disk"):
        settled, last = sizes[SETTLED - 1][what], sizes[-1][what]
        assert last <= settled * MAY_GROW, f"{what} grew from {settled} to {last} bytes"
    assert sizes[-1]["runs"] <= 2 * 121 + 10, "two hours of polls and discoveries, and what states a meter's status"

    answered = sum(gateway.requests for gateway in fleet) // 2
    ((stored, points),) = pipeline.sql("SELECT count(DISTINCT (id, time)), count(*) FROM readings")
    row = SoakRow(
        f"{HOURS} simulated hours of polls a minute apart, history kept for 2 hours",
        injected=HOURS,
        read=answered,
        stored=stored,
        lost=max(0, answered - stored),
        invented=max(0, stored - answered),
        duplicated=max(0, points - 2 * stored),
    )
    publish(row)
    assert row.is_clean()
    assert stored == UNITS * 60 * HOURS


def an_hour_passes(pipeline) -> None:
    with pipeline.instance.event_log_storage.index_connection() as connection:
        connection.execute(text("UPDATE runs SET update_timestamp = update_timestamp - interval '1 hour'"))
    for path in storage_of(pipeline.instance).rglob("*"):
        status = path.stat()
        os.utime(path, (status.st_atime - 3600, status.st_mtime - 3600))


def measure(pipeline, hour: int) -> dict[str, int]:
    """Return sizes in bytes by category, and the number of runs; print them as a row."""
    with pipeline.instance.event_log_storage.index_connection() as connection:
        dagster = dict(map(tuple, connection.execute(SIZES)))
    with pipeline.engine.connect() as connection:
        configuration = dict(map(tuple, connection.execute(SIZES)))
    files = [path for path in storage_of(pipeline.instance).rglob("*") if path.is_file()]
    largest = sorted(dagster, key=lambda name: dagster[name], reverse=True)[:5]
    sizes = {
        "dagster": sum(dagster.values()),
        "configuration": sum(configuration.values()),
        "disk": sum(path.stat().st_blocks * 512 for path in files),
        "runs": len(pipeline.instance.get_run_ids()),
    }
    tables = ", ".join(f"{name} {dagster[name] / 1e6:.1f}" for name in largest)
    print(
        f"hour {hour}: {sizes['runs']} runs; MB: Dagster's tables {sizes['dagster'] / 1e6:.1f} ({tables}), "
        f"ours {sizes['configuration'] / 1e6:.1f}, step files and logs {sizes['disk'] / 1e6:.1f} in {len(files)} files"
    )
    return sizes


def storage_of(instance: DagsterInstance) -> Path:
    return Path(instance.storage_directory())
