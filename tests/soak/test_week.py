"""A week of operation in minutes: polls, prune, retention of run history and readings, backups, logs, and a full disk.

The clock is simulated: `emm backup --daily` runs in this process, and while it waits for the next backup, the hours
until then pass. In each hour two polls and a prune are executed, with the real storage and a real InfluxDB on a small
disk of its own. In the middle of the week, this disk is full for twelve hours, in which a backup is due. Runs and step
files, which Dagster dates itself, are given the simulated time.
"""

import importlib
import os
import signal
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import BinaryIO

import pytest
from click.testing import CliRunner
from soak.table import SoakRow, publish
from sqlalchemy import text
from support.clock import Clock
from support.disks import SmallDisk, small_disk
from support.influxdb import INFLUXD_1_8, InfluxDB
from support.meters import SimulatedUnit
from support.postgres import create_database

from emm_pipeline.cli.demo.processes import ProcessGroup
from emm_pipeline.cli.main import emm
from emm_pipeline.condition.parts import pipeline_condition
from emm_pipeline.config_db.engine import create_config_engine
from emm_pipeline.defs.runs import ScheduledPoll
from emm_pipeline.polling.sharding import Shard
from emm_pipeline.polling.timing import Window
from emm_pipeline.settings import current_settings
from emm_pipeline.status import State
from emm_pipeline.stores import delivery

DAYS = max(4, int(os.environ.get("EMM_SOAK_DAYS", "7")))
METERS = 20
BACKUPS_KEPT = 3
READINGS_KEPT_DAYS = 2
BACKUP_AT = "07:10"
FULL_DAY, FULL_FROM, FULL_UNTIL = DAYS // 2, 6, 18
"""The day and the hours in which InfluxDB's disk is full."""
LOG_BYTES_PER_HOUR = 150_000
LOG_MAX_BYTES = 1_000_000
"""Limit of the log of a process, which reaches it several times in a week."""

pytestmark = [pytest.mark.soak]
backup_command = importlib.import_module("emm_pipeline.cli.commands.backup")


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
def backups(pipeline, server, simulated_gateway, monkeypatch, tmp_path) -> Path:
    """The folder of the backups of a pipeline with InfluxDB as its store and meters behind two gateways."""
    folder = tmp_path / "backups"
    folder.mkdir()
    environment = {
        "READINGS_STORE": "influxdb",
        "INFLUXDB_URL": server.url,
        "INFLUXDB_TOKEN": server.token,
        "INFLUXDB_BUCKET": server.bucket,
        "OUTBOX_DIR": str(tmp_path / "outbox"),
        "READINGS_RETENTION_DAYS": str(READINGS_KEPT_DAYS),
        "RUN_RETENTION_HOURS": "24",
        "BACKUP_DIR": str(folder),
        "BACKUP_TIME": BACKUP_AT,
        "BACKUP_KEEP": str(BACKUPS_KEPT),
        "TZ": "UTC",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    current_settings.cache_clear()
    monkeypatch.setattr(delivery, "RETRIED_FOR_S", 0)
    monkeypatch.setattr(delivery, "LEAST_TIME_S", 2.0)
    registers = {(4, address): 0 for address in range(80)}
    gateways = [simulated_gateway(dict.fromkeys(range(10), SimulatedUnit(registers))) for _ in "ab"]
    for id_ in range(1, METERS + 1):
        pipeline.add_meter(id_, gateways[id_ % 2].port, unit_id=id_ % 10)
    return folder


@pytest.fixture
def chatty(tmp_path) -> Iterator[tuple[ProcessGroup, BinaryIO]]:
    """A process that writes to its log what is written to the file."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ProcessGroup(tmp_path / "logs") as processes:
        processes.start("chatty", ["sh", "-c", 'exec cat < "$0"', pipe], os.environ)
        with pipe.open("wb", buffering=0) as file:
            yield processes, file


class Week:
    """The event for which `emm backup --daily` waits: waiting lets simulated time pass, until the week has ended."""

    def __init__(self, pipeline, server: InfluxDB, disk: SmallDisk, chatty) -> None:
        self.pipeline, self.server, self.disk = pipeline, server, disk
        self.processes, self.log_input = chatty
        self.began = datetime.now(UTC)
        midnight = self.began.replace(hour=0, minute=0, second=0, microsecond=0)
        self.clock = Clock(midnight - timedelta(days=DAYS))
        self.polls: list[datetime] = []
        self.stored = 0
        """Values of voltageL1 in InfluxDB at the end of each day, summed up."""
        self.runs: list[int] = []
        """Number of runs that Dagster knows, at the end of each day."""
        self.files: list[int] = []
        """Size of step files and logs of runs in bytes, at the end of each day."""

    def run(self) -> str:
        """Let the week pass; return the output of `emm backup --daily`."""
        with pytest.MonkeyPatch.context() as self._monkeypatch:
            self._monkeypatch.setattr(backup_command, "threading", SimpleNamespace(Event=lambda: self))
            self.clock.show_in_emm(self._monkeypatch)
            return run_emm("backup", "--daily")

    def wait(self, seconds: float) -> bool:
        """See `threading.Event.wait`."""
        until = self.clock.seconds + seconds
        while self.clock.seconds < until:
            self.clock.show_in_emm(self._monkeypatch)  # also in modules that were imported since
            self._ten_minutes()
            if self.clock.seconds >= DAYS * 86_400:
                return True
        return False

    def _ten_minutes(self) -> None:
        day, seconds = divmod(int(self.clock.seconds), 86_400)
        hour, minute = divmod(seconds // 60, 60)
        if (day, hour, minute) == (FULL_DAY, FULL_FROM, 0):
            self.disk.fill()
        if (day, hour, minute) == (FULL_DAY, FULL_UNTIL, 0):
            self.disk.make_room()
            self.server.stop()  # InfluxDB does not open the shard again by itself
            self.server.start()
            assert self.pipeline.run("replay").success
        if minute in {0, 30}:
            now = self.clock.now(UTC)
            window = Window(now, now + timedelta(seconds=57))
            self.pipeline.run("poll", tags=ScheduledPoll(Shard(), window).tags())
            self.polls.append(now)
        if minute == 20:
            self._hourly(hour)
        self.clock.seconds += 600
        if self.clock.seconds % 86_400 == 0:
            self._end_day(day)

    def _hourly(self, hour: int) -> None:
        now = self.clock.now(UTC)
        with self.pipeline.instance.event_log_storage.index_connection() as connection:
            dated = text("UPDATE runs SET update_timestamp = :now WHERE update_timestamp >= :began")
            connection.execute(dated, {"now": now.replace(tzinfo=None), "began": self.began.replace(tzinfo=None)})
        for path in self._dagster_files():
            if path.stat().st_mtime >= self.began.timestamp():
                os.utime(path, (now.timestamp(), now.timestamp()))
        assert self.pipeline.run("prune").success
        line = f"{now:%Y-%m-%d %H:%M} {'x' * 80}\n".encode()
        self.log_input.write(line * (LOG_BYTES_PER_HOUR // len(line)))
        self.processes.rotate_logs(LOG_MAX_BYTES)

    def _end_day(self, day: int) -> None:
        end = self.clock.now(UTC)
        self.stored += count_values(self.server, end - timedelta(days=1))
        self.runs.append(len(self.pipeline.instance.get_run_ids()))
        self.files.append(sum(path.stat().st_size for path in self._dagster_files() if path.is_file()))
        print(f"day {day}: {len(self.polls)} polls, {self.stored} values, {self.runs[-1]} runs, {self.files[-1]} bytes")

    def _dagster_files(self) -> list[Path]:
        return list(Path(self.pipeline.instance.storage_directory()).rglob("*"))


@pytest.fixture
def week(pipeline, server, disk, chatty) -> Week:
    return Week(pipeline, server, disk, chatty)


def test_a_week_with_backups_and_a_full_disk_ends_with_everything_in_order(pipeline, server, backups, week, postgres):
    assert pipeline.run("discovery").success
    said = week.run()
    print(said)

    # One more: `--daily` makes one at once if there is none.
    assert said.count(": removed") == DAYS + 1 - BACKUPS_KEPT
    assert "error" not in said, "a full disk of InfluxDB does not prevent reading it"
    kept = sorted(backups.glob("emm-*.zip"))
    assert [file.stem[-4:] for file in kept] == ["0710"] * BACKUPS_KEPT
    assert not list(backups.glob(".*.part"))

    assert week.runs[-1] <= week.runs[1] * 1.1, "run history is kept for a day"
    assert week.files[-1] <= week.files[1] * 1.1, "and so are its files"
    log, processes = week.processes.log("chatty"), week.processes
    sizes = [path.stat().st_size for path in log.parent.iterdir()]
    assert len(sizes) == 2
    assert max(sizes) <= LOG_MAX_BYTES + LOG_BYTES_PER_HOUR
    processes.check()

    settings = current_settings()
    assert not list(settings.outbox_folder.glob("*.points"))
    parts = {part.name: part.status for part in pipeline_condition(settings).parts}
    assert {parts[name].state for name in ("PostgreSQL", "readings store", "outbox", "clock")} == {State.OK}
    oldest = week.clock.now(UTC) - timedelta(days=1 + READINGS_KEPT_DAYS)
    kept_polls = [time for time in week.polls if time >= oldest]
    remaining = server.query("SELECT count(value) FROM voltageL1")[0]["count"]
    assert remaining == count_values(server, oldest, days=DAYS) == len(kept_polls) * METERS

    read = len(week.polls) * METERS
    row = SoakRow(
        f"{DAYS} simulated days: prune, daily backup, InfluxDB's disk full for {FULL_UNTIL - FULL_FROM} hours",
        injected=1,
        read=read,
        stored=week.stored,
        lost=max(0, read - week.stored),
        invented=max(0, week.stored - read),
        duplicated=0,
    )
    publish(row)
    assert row.is_clean()

    of_last_day = [time for time in kept_polls if time < datetime.fromisoformat(f"{kept[-1].stem[4:14]}T07:10Z")]
    assert restore_into_an_empty_installation(kept[-1], postgres, server) == len(of_last_day) * METERS


def count_values(server: InfluxDB, since: datetime, days: int = 1) -> int:
    until = since + timedelta(days=days)
    begin, end = (round(time.timestamp() * 1000) for time in (since, until))
    rows = server.query(f"SELECT count(value) FROM voltageL1 WHERE time >= {begin}ms AND time < {end}ms")
    return rows[0]["count"] if rows else 0


def run_emm(*arguments: object) -> str:
    """Run a command in this process, which must succeed; return its output."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        done = CliRunner().invoke(emm, list(map(str, arguments)), catch_exceptions=False)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert done.exit_code == 0, done.output
    return done.output


def restore_into_an_empty_installation(file: Path, postgres, server: InfluxDB) -> int:
    """Restore a backup; return the number of its values of voltageL1."""
    url = create_database(postgres)
    bucket = server.create_database("restored")
    outbox = file.parent / "outbox"
    changed = {"POSTGRES_DB": str(url.database), "INFLUXDB_BUCKET": bucket, "OUTBOX_DIR": str(outbox)}
    with pytest.MonkeyPatch.context() as environment:
        for name, value in changed.items():
            environment.setenv(name, value)
        run_emm("restore", file)
        engine = create_config_engine(url)
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT count(*) FROM energy_meters")) == METERS
        engine.dispose()
    return server.query("SELECT count(value) FROM voltageL1", bucket=bucket)[0]["count"]
