"""`emm backup` and `emm restore`: everything is in the empty installation afterwards, and a failure changes nothing."""

import json
import sqlite3
import stat
import zipfile
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from support.frames import points, reading, readings
from support.influxdb import InfluxDB
from support.postgres import create_database

from emm_pipeline.access.vault import Vault
from emm_pipeline.config_db.engine import create_config_engine
from emm_pipeline.config_db.upgrade import check, ensure_database, upgrade
from emm_pipeline.dagster_ext.storage import upgrade_storage
from emm_pipeline.settings import Settings
from emm_pipeline.stores.outbox.folder import Outbox
from emm_pipeline.stores.postgresql.tables import metadata

SPECIAL = 'a "quoted" \\ text, with = and 100 % of äöü'


class Place:
    """An installation: its settings as variables, and its folders."""

    def __init__(self, folder: Path, url, influxdb: InfluxDB, bucket: str) -> None:
        self.folder, self.influxdb, self.bucket = folder, influxdb, bucket
        self.grafana, self.access = folder / "grafana", folder / "access"
        self.outbox = Outbox(folder / "outbox", 10**9)
        (self.access / "secrets").mkdir(parents=True)
        self.variables = {
            "POSTGRES_HOST": url.host or url.query["host"],
            "POSTGRES_PORT": str(url.port or url.query.get("port", 5432)),
            "POSTGRES_USER": url.username,
            "POSTGRES_PASSWORD": url.password or "",
            "POSTGRES_DB": url.database,
            "READINGS_STORE": "influxdb",
            "INFLUXDB_URL": influxdb.url,
            "INFLUXDB_TOKEN": influxdb.token,
            "INFLUXDB_BUCKET": bucket,
            "OUTBOX_DIR": str(self.outbox.folder),
        }
        given = {name.lower(): value for name, value in self.variables.items()}
        self.settings = Settings(**given)

    def sql(self, statement: str, *, dagster: bool = False):
        url = self.settings.dagster_database_url if dagster else self.settings.config_database_url
        engine = create_engine(url)
        try:
            with engine.begin() as connection:
                result = connection.execute(text(statement))
                return result.all() if result.returns_rows else None
        finally:
            engine.dispose()

    def upgrade(self) -> None:
        ensure_database(self.settings.dagster_database_url)
        engine = create_config_engine(self.settings.config_database_url)
        upgrade(engine)
        engine.dispose()
        upgrade_storage(self.settings.dagster_database_url.render_as_string(hide_password=False))

    def points(self) -> list[tuple]:
        rows = self.influxdb.query("SELECT * FROM /.*/ GROUP BY *", bucket=self.bucket)
        return sorted(map(str, rows))


@pytest.fixture
def place(postgres, influxdb_1_8, tmp_path):
    """Return a new installation without tables; `old_or_new` names it."""
    numbers = iter(range(9))

    def make() -> Place:
        number = next(numbers)
        bucket = influxdb_1_8.create_database(f"backup{number}")
        return Place(tmp_path / str(number), create_database(postgres), influxdb_1_8, bucket)

    return make


@pytest.fixture
def old(place) -> Place:
    """An installation with meters, tables and rows of a person's own, readings, a waiting batch and Grafana's data."""
    old = place()
    old.upgrade()
    old.sql("INSERT INTO registers VALUES ('sdm630', 0, 'voltageL1', 'V', 3, 4, 2, 2)")
    old.sql("ALTER TABLE energy_meters ADD COLUMN cabinet text DEFAULT 'A'")
    old.sql("INSERT INTO energy_meters VALUES (1, '10.0.0.1', 502, 1, 'sdm630', E'tab\\t and \\\\ back')")
    old.sql("INSERT INTO meter_status (id, last_read_at) VALUES (1, '2026-03-01 12:00+00')")
    old.sql(
        'CREATE TABLE "My notes" (id serial PRIMARY KEY, meter integer REFERENCES energy_meters (id), "% done" numeric '
        'CHECK ("% done" <= 100), twice integer GENERATED ALWAYS AS (meter * 2) STORED)'
    )
    old.sql('INSERT INTO "My notes" (meter, "% done") VALUES (1, 50.5), (1, NULL)')
    old.sql("CREATE VIEW barn AS SELECT id, host FROM energy_meters WHERE id < 100")
    old.sql("INSERT INTO alert_lines (channel, raised, line) VALUES ('mail', true, 'x')")
    old.sql("INSERT INTO kvs (key, value) VALUES ('a', 'b')", dagster=True)
    lines = [
        f"voltageL1,dataunit=V,description=a\\ b\\,c,id=1 value={number / 7!r} {1772366400000 + number}"
        for number in range(12_000)
    ]
    lines += [
        f'emm_poll,id=1 ok=1i,latency_ms=12,requests=2i,error="{SPECIAL}",flag=true 1772366400000'.replace(
            SPECIAL, SPECIAL.replace("\\", "\\\\").replace('"', '\\"')
        )
    ]
    old.influxdb.write("\n".join(lines), bucket=old.bucket)
    old.outbox.put(points(readings(reading())), datetime.now(UTC), "run").close()
    old.grafana.mkdir()
    with closing(sqlite3.connect(old.grafana / "grafana.db")) as database, database:
        database.execute("CREATE TABLE user (login)")
        database.execute("INSERT INTO user VALUES ('admin')")
    (old.grafana / "plugins").mkdir(mode=0o750)
    Vault(old.access / "secrets", {}).value("GF_SECURITY_ADMIN_PASSWORD")
    return old


@pytest.fixture
def run(emm):
    """Run a command in an installation."""

    def run(place: Place, *arguments: object, **variables: str):
        folders = ("--grafana", place.grafana, "--folder", place.access)
        return emm(*arguments, *folders, **{**place.variables, **variables})

    return run


@pytest.fixture
def backup(old, run, tmp_path) -> Path:
    file = tmp_path / "emm.zip"
    done = run(old, "backup", file)
    assert done.returncode == 0, done.stderr
    return file


def test_an_empty_installation_has_everything_after_a_restore(old, place, run, backup):
    new = place()
    password = Vault(new.access / "secrets", {}).value("POSTGRES_PASSWORD")
    done = run(new, "restore", backup)
    assert done.returncode == 0, done.stderr
    for table in ("energy_meters", "registers", "meter_status", '"My notes"', "barn", "alert_lines"):
        query = f"SELECT * FROM {table} ORDER BY 1"
        assert new.sql(query) == old.sql(query) != []
    assert new.sql("SELECT * FROM kvs", dagster=True) == old.sql("SELECT * FROM kvs", dagster=True)
    assert new.points() == old.points()
    assert len(new.points()) == 12_001
    assert new.outbox.names() == old.outbox.names() != []
    for path in old.grafana.rglob("*"):
        restored = new.grafana / path.relative_to(old.grafana)
        assert restored.stat().st_mode == path.stat().st_mode
        assert path.is_dir() or restored.read_bytes() == path.read_bytes()
    vaults = {each: Vault(each.access / "secrets", {}) for each in (old, new)}
    name = "GF_SECURITY_ADMIN_PASSWORD"
    assert vaults[new].value(name) == vaults[old].value(name)
    assert password in vaults[new].older("POSTGRES_PASSWORD"), "init changes it in the server, which has the new one"


def test_new_rows_and_runs_continue_with_the_numbers_of_the_backup(place, run, backup):
    new = place()
    assert run(new, "restore", backup).returncode == 0
    assert new.sql('INSERT INTO "My notes" (meter) VALUES (1) RETURNING id') == [(3,)]
    assert new.sql("INSERT INTO alert_lines (channel, raised, line) VALUES ('m', true, 'x') RETURNING id") == [(2,)]
    with pytest.raises(Exception, match="done"):
        new.sql('INSERT INTO "My notes" ("% done") VALUES (101)')
    engine = create_config_engine(new.settings.config_database_url)
    assert check(engine, metadata.sorted_tables).is_newest
    engine.dispose()


def test_an_installation_with_meters_or_that_runs_is_replaced_with_force_only(old, place, run, backup):
    new = place()
    new.upgrade()
    new.sql("INSERT INTO registers VALUES ('x', 0, 'm', 'V', 3, 4, 2, 2)")
    new.sql("INSERT INTO energy_meters VALUES (7, '10.0.0.7', 502, 1, 'x', 'mine')")
    done = run(new, "restore", backup)
    assert done.returncode == 2
    assert "a meter, which a restore would replace" in done.stderr
    new.sql("DELETE FROM energy_meters")
    new.sql(
        "INSERT INTO daemon_heartbeats (daemon_type, daemon_id, timestamp) VALUES ('SCHEDULER', 'x', now())",
        dagster=True,
    )
    done = run(new, "restore", backup)
    assert done.returncode == 2
    assert "EMM runs on this database" in done.stderr
    assert run(new, "restore", backup, "--force").returncode == 0
    assert new.sql("SELECT id FROM energy_meters") == old.sql("SELECT id FROM energy_meters")


def test_a_damaged_backup_changes_nothing(place, run, backup):
    new = place()
    content = bytearray(backup.read_bytes())
    with zipfile.ZipFile(backup) as archive:
        part = archive.getinfo("influxdb/points.lp")
    content[part.header_offset + 200] ^= 0xFF
    backup.write_bytes(content)
    done = run(new, "restore", backup)
    assert done.returncode == 2
    assert "is damaged" in done.stderr
    assert new.sql("SELECT to_regclass('energy_meters')") == [(None,)]


def test_a_restore_that_fails_in_a_database_leaves_it_as_it_was(place, run, backup):
    new = place()
    new.upgrade()
    with zipfile.ZipFile(backup) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    definitions = json.loads(parts["postgresql/configuration/definitions.json"])
    definitions["tables"][-1]["columns"][0]["type"] = "no_such_type"
    parts["postgresql/configuration/definitions.json"] = json.dumps(definitions).encode()
    with zipfile.ZipFile(backup, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    before = new.sql("SELECT * FROM emm_alembic_version")
    done = run(new, "restore", backup)
    assert done.returncode == 1
    assert "no_such_type" in done.stderr
    assert new.sql("SELECT * FROM emm_alembic_version") == before


def test_a_backup_is_readable_by_its_owner_only_and_no_part_is_left_of_one_that_fails(old, run, backup, tmp_path):
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    again = run(old, "backup", backup)
    assert again.returncode == 2
    assert "exists" in again.stderr
    other = tmp_path / "other.zip"
    failed = run(old, "backup", other, INFLUXDB_URL="http://127.0.0.1:1")
    assert failed.returncode == 1
    assert "127.0.0.1:1 does not answer" in failed.stderr
    assert not other.exists()
    assert not list(tmp_path.glob(".*.part"))
    absent = run(old, "backup", tmp_path / "none" / "emm.zip")
    assert absent.returncode == 1
    assert "cannot be written" in absent.stderr


def test_what_is_no_backup_is_refused(place, run, tmp_path):
    file = tmp_path / "x.zip"
    for content in (b"", b"PK\x03\x04", b"text"):
        file.write_bytes(content)
        done = run(place(), "restore", file)
        assert done.returncode == 2
        assert "is not a backup of EMM" in done.stderr


def test_the_run_history_can_be_left_out(old, place, run, tmp_path):
    file = tmp_path / "small.zip"
    assert run(old, "backup", file, "--no-history").returncode == 0
    assert "postgresql/dagster/event_logs.copy" not in zipfile.ZipFile(file).namelist()
    new = place()
    assert run(new, "restore", file).returncode == 0
    assert new.sql("SELECT count(*) FROM event_logs", dagster=True) == [(0,)]
