"""`emm backup --daily`: when it makes a backup, which files it keeps, and the alert about one that fails."""

import importlib
import json
import signal
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from support.clock import Clock
from support.postgres import connection_settings

from emm_pipeline.cli.main import emm
from emm_pipeline.config_db.upgrade import ensure_database
from emm_pipeline.settings import current_settings

command = importlib.import_module("emm_pipeline.cli.commands.backup")
NOON = datetime(2026, 3, 28, 12, tzinfo=UTC)
"""In Berlin 13:00; the clocks are set forward in the following night."""


class Channel:
    name = "mail"

    def __init__(self):
        self.sent = []

    def send(self, subject, body):
        self.sent.append((subject, body.splitlines()))
        return []


class Daily:
    """Runs the command with a simulated clock until the last of `days`: what happens while it waits for the next."""

    def __init__(self, folder):
        self.folder = folder
        self.channel = Channel()
        self.clock = Clock(NOON)
        self.made: list[str] = []
        self._days = []

    def __call__(self, *days):
        self._days = [lambda: None, *days]
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(command, "threading", SimpleNamespace(Event=lambda: self))
            patched.setattr(command, "channels_of", lambda _: [self.channel])
            self.clock.show_in_emm(patched)
            done = CliRunner().invoke(emm, ["backup", "--daily"], catch_exceptions=False)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        return done

    def wait(self, seconds):
        self.made.append(f"{self.clock.now(UTC) + timedelta(seconds=seconds):%m-%dT%H%M}")
        self.clock.sleep(seconds)
        if not self._days:
            return True
        self._days.pop(0)()
        return False

    def files(self):
        return [path.stem.removeprefix("emm-2026-") for path in sorted(self.folder.glob("emm-*.zip"))]


@pytest.fixture
def daily(postgres, config_url, tmp_path, monkeypatch):
    folder = tmp_path / "backups"
    folder.mkdir()
    settings = {
        **connection_settings(postgres, config_url.database),
        "READINGS_STORE": "postgresql",
        "OUTBOX_DIR": str(tmp_path / "outbox"),
        "BACKUP_DIR": str(folder),
        "BACKUP_TIME": "03:30",
        "BACKUP_KEEP": "2",
        "TZ": "Europe/Berlin",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    current_settings.cache_clear()
    ensure_database(current_settings().dagster_database_url)
    return Daily(folder)


def nothing():
    """A day on which nothing happens."""


def test_the_first_backup_is_made_at_once_the_others_at_the_set_time_of_the_zone_and_the_newest_are_kept(daily):
    done = daily(nothing, nothing)
    assert done.exit_code == 0
    assert daily.made == ["03-28T1200", "03-29T0130", "03-30T0130", "03-31T0130"], "in UTC, after the change 03:30"
    assert daily.files() == ["03-29T0330", "03-30T0330"]
    assert done.output.count(": removed") == 1
    assert daily.channel.sent == []


def test_a_backup_that_fails_is_reported_once_also_if_its_disk_is_full_and_so_is_its_recovery(daily, monkeypatch):
    """The file that records the alerts is on the same disk."""
    cannot_be_written = daily.folder / ".alerts.tmp"
    database = current_settings().postgres_db

    def fails():
        monkeypatch.setenv("POSTGRES_DB", "absent")
        cannot_be_written.mkdir()

    def works():
        monkeypatch.setenv("POSTGRES_DB", database)
        cannot_be_written.rmdir()

    done = daily(fails, nothing, works)
    assert done.exit_code == 0
    (subject, (raised,)), (_, (resolved,)) = daily.channel.sent
    assert "failing" in subject
    assert "the daily backup" in raised
    assert "absent" in raised
    assert "the daily backup" in resolved
    assert daily.files() == ["03-28T1300", "03-31T0330"]
    assert json.loads((daily.folder / ".alerts.json").read_text())["raised"] == []


def test_a_restarted_service_makes_no_second_backup_of_the_day(daily):
    daily()
    daily.made.clear()
    daily.clock.sleep(3600)
    daily()
    assert daily.made == ["03-30T0130", "03-31T0130"]
