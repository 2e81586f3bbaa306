"""A week of operation in minutes: polls, prune, retention of run history, daily backups, and a full disk in the middle.

The polls of a week, two per simulated hour, are executed in this process with the real storage and a real InfluxDB on a
small disk of its own. After the runs of each hour, all rows and files are made an hour older; the hourly prune runs. On
the fourth day the disk of InfluxDB is full for twelve hours, in which another backup is made.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner
from soak.table import SoakRow, publish
from sqlalchemy import text
from support.disks import SmallDisk, small_disk
from support.influxdb import INFLUXD_1_8, InfluxDB
from support.meters import SimulatedUnit
from support.postgres import create_database

from emm_pipeline.backup.schedule import file_name, remove_old
from emm_pipeline.cli.main import emm
from emm_pipeline.condition.parts import pipeline_condition
from emm_pipeline.config_db.engine import create_config_engine
from emm_pipeline.defs.runs import ScheduledPoll
from emm_pipeline.polling.sharding import Shard
from emm_pipeline.polling.timing import Window
from emm_pipeline.settings import current_settings
from emm_pipeline.status import State

DAYS = int(os.environ.get("EMM_SOAK_DAYS", "7"))
POLLS_PER_HOUR = 2
METERS = 20
KEEP = 3
FULL_DAY, FULL_HOURS = DAYS // 2, range(6, 18)
"""The day and the hours in which InfluxDB's disk is full."""

pytestmark = [pytest.mark.soak]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk of influxdb", 300) as disk:
        if not disk.can_be_filled:
            pytest.skip("only root may mount a small disk")
        yield disk


@pytest.fixture
def server(disk: SmallDisk) -> Iterator[InfluxDB]:
    if not INFLUXD_1_8.exists():
        pytest.skip(f"{INFLUXD_1_8} does not exist: see .ci/run")
    with closing(InfluxDB(disk.folder, INFLUXD_1_8)) as server:
        yield server


@pytest.fixture
def week(pipeline, server, simulated_gateway, monkeypatch, tmp_path):
    """The pipeline with InfluxDB as its store, meters behind two gateways, and a folder for backups."""
    backups = tmp_path / "backups"
    backups.mkdir()
    environment = {
        "READINGS_STORE": "influxdb",
        "INFLUXDB_URL": server.url,
        "INFLUXDB_TOKEN": server.token,
        "INFLUXDB_BUCKET": server.bucket,
        "RUN_RETENTION_HOURS": "24",
        "BACKUP_DIR": str(backups),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    current_settings.cache_clear()
    gateways = [simulated_gateway(dict.fromkeys(range(10), SimulatedUnit(dict.fromkeys(ADDRESSES, 0)))) for _ in "ab"]
    for id_ in range(1, METERS + 1):
        pipeline.add_meter(id_, gateways[id_ % 2].port, unit_id=id_ % 10)
    return backups


ADDRESSES = [(4, address) for address in range(80)]


def test_a_week_with_backups_and_a_full_disk_ends_with_everything_in_order(pipeline, server, disk, week, postgres):
    polls, failed_backups, sizes = 0, 0, []
    assert pipeline.run("discovery").success
    for day in range(DAYS):
        for hour in range(24):
            if (day, hour) == (FULL_DAY, FULL_HOURS.start):
                disk.fill()
            if (day, hour) == (FULL_DAY, FULL_HOURS.stop):
                disk.make_room()
                server.stop()  # InfluxDB does not open the shard again by itself
                server.start()
                assert pipeline.run("replay").success
            for _ in range(POLLS_PER_HOUR):
                now = datetime.now(UTC)
                pipeline.run("poll", tags=ScheduledPoll(Shard(), Window(now, now + timedelta(seconds=57))).tags())
                polls += 1
            if hour == 3 or (day, hour) == (FULL_DAY, FULL_HOURS.start + 1):
                failed_backups += not back_up(week, day, hour)
            an_hour_passes(pipeline)
            assert pipeline.run("prune").success
        sizes.append(len(pipeline.instance.get_run_ids()))
        print(f"day {day}: {polls} polls, {sizes[-1]} runs, {len(list(week.iterdir()))} backups")

    settings = current_settings()
    assert sizes[-1] <= sizes[1] * 1.1, "run history is kept for a day"
    assert len(list(week.glob("emm-*.zip"))) == KEEP
    assert not list(week.glob(".*.part"))
    assert failed_backups == 0, "a full disk of InfluxDB does not prevent reading it"
    assert not list(settings.outbox_folder.glob("*.points"))
    parts = {part.name: part.status for part in pipeline_condition(settings).parts}
    assert {parts[name].state for name in ("PostgreSQL", "readings store", "outbox", "clock")} == {State.OK}
    stored = server.query("SELECT count(value) FROM voltageL1")[0]["count"]
    row = SoakRow(
        f"{DAYS} simulated days: prune, daily backup, InfluxDB's disk full for {len(FULL_HOURS)} hours",
        injected=1,
        read=polls * METERS,
        stored=stored,
        lost=max(0, polls * METERS - stored),
        invented=max(0, stored - polls * METERS),
        duplicated=0,
    )
    publish(row)
    assert row.is_clean()

    last = week / file_name(datetime.now(UTC))
    assert run_emm("backup", last, "--force")
    restored = restore_into_an_empty_installation(last, postgres, server, settings)
    assert restored == stored


def back_up(folder: Path, day: int, hour: int) -> bool:
    """Make the backup of a day, as `emm backup --daily` does; return whether it succeeded."""
    at = datetime(2026, 6, 1 + day, hour, tzinfo=ZoneInfo("UTC"))
    made = run_emm("backup", folder / file_name(at))
    remove_old(folder, KEEP)
    return made


def run_emm(*arguments: object) -> bool:
    done = CliRunner().invoke(emm, list(map(str, arguments)))
    if done.exit_code:
        print(done.output, done.exception)
    return done.exit_code == 0


def restore_into_an_empty_installation(file: Path, postgres, server: InfluxDB, settings) -> int:
    """Restore a backup; return the number of its values of voltageL1."""
    url = create_database(postgres)
    bucket = server.create_database("restored")
    changed = {"POSTGRES_DB": str(url.database), "INFLUXDB_BUCKET": bucket, "OUTBOX_DIR": str(file.parent / "outbox")}
    with pytest.MonkeyPatch.context() as environment:
        for name, value in changed.items():
            environment.setenv(name, value)
        assert run_emm("restore", file)
        engine = create_config_engine(url)
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT count(*) FROM energy_meters")) == METERS
        engine.dispose()
    shutil.rmtree(file.parent / "outbox", ignore_errors=True)
    return server.query("SELECT count(value) FROM voltageL1", bucket=bucket)[0]["count"]


def an_hour_passes(pipeline) -> None:
    with pipeline.instance.event_log_storage.index_connection() as connection:
        connection.execute(text("UPDATE runs SET update_timestamp = update_timestamp - interval '1 hour'"))
    for path in Path(pipeline.instance.storage_directory()).rglob("*"):
        status = path.stat()
        os.utime(path, (status.st_atime - 3600, status.st_mtime - 3600))
