"""`emm status` reports each failure separately: what has failed, since when, and what to do."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from dagster._core.storage.runs.schema import DaemonHeartbeatsTable
from sqlalchemy import create_engine, text
from support.frames import points, reading, readings
from support.meters import SimulatedUnit, encode_value, inputs
from support.ports import free_port

from emm_pipeline.config_db.engine import create_config_engine
from emm_pipeline.config_db.upgrade import ensure_database
from emm_pipeline.dagster_ext.storage import upgrade_storage
from emm_pipeline.fleet import DataType
from emm_pipeline.settings import Settings
from emm_pipeline.stores.outbox.folder import Outbox

REGISTERS = """
    INSERT INTO registers VALUES
      ('sdm630', 0, 'voltageL1', 'V', 3, 4, 2, 2),
      ('sdm630', 52, 'activePower', 'W', 3, 4, 2, 2)
"""


def unit(voltage=230.5, power=1000.0, **faults):
    words = inputs(0, encode_value(voltage, DataType.FLOAT)) | inputs(52, encode_value(power, DataType.FLOAT))
    return SimulatedUnit({(4, address): 0 for address in range(80)} | words, **faults)


@pytest.fixture
def database(emm, config_url):
    """A fresh configuration database with a daemon's heartbeat, as if Dagster ran; a function that executes SQL."""
    settings = Settings(**{name.lower(): value for name, value in emm.settings.items()})
    ensure_database(settings.dagster_database_url)
    upgrade_storage(settings.dagster_database_url.render_as_string(hide_password=False))
    dagster = create_engine(settings.dagster_database_url)
    with dagster.begin() as connection:
        now = datetime.now(UTC).replace(tzinfo=None)
        values = {"daemon_type": "SCHEDULER", "timestamp": now, "body": "{}"}
        connection.execute(DaemonHeartbeatsTable.insert().values(**values))
    dagster.dispose()
    engine = create_config_engine(config_url)

    def sql(statement, **values):
        with engine.begin() as connection:
            result = connection.execute(text(statement), values)
            return list(result) if result.returns_rows else []

    sql(REGISTERS)
    yield sql
    engine.dispose()


def add(sql, id_, status="", **columns):
    """Add a meter that was polled a moment ago."""
    row = {"host": "127.0.0.1", "port": 5020, "unit": id_, "type": "sdm630", "description": None} | columns
    sql("INSERT INTO energy_meters VALUES (:id, :host, :port, :unit, :type, :description)", id=id_, **row)
    sql(f"INSERT INTO meter_status (id, polled_at, last_read_at) VALUES ({id_}, now(), now())")
    if status:
        sql(f"UPDATE meter_status SET {status} WHERE id = {id_}")


def shown(emm, **environment):
    """Return the command's results: exit code, text, parts that are not ok by name, and meters by id."""
    text_ = emm("status", **environment)
    as_json = emm("status", "--json", **environment)
    assert text_.returncode == as_json.returncode
    assert "Traceback" not in text_.stderr + as_json.stderr
    assert all(len(line) <= 80 for line in text_.stdout.splitlines())
    found = json.loads(as_json.stdout)
    parts = {part["name"]: part for part in found["parts"] if part["status"] != "ok"}
    parts.pop("code server", None)  # none runs here
    meters = None if found["meters"] is None else {meter["id"]: meter for meter in found["meters"]}
    return text_.returncode, text_.stdout, parts, meters


def test_a_meter_that_fails_is_named_with_since_when_why_and_what_to_do(emm, database):
    add(database, 1)
    reason = "127.0.0.1:5020 unit 2: no reply within 3.0 s"
    add(database, 2, f"failing_since = '2026-03-01 12:00+00', reason = '{reason}', silent = true", description="cellar")
    code, out, parts, meters = shown(emm)
    assert (code, parts) == (2, {})
    assert "2 meters: 1 failing, 1 ok" in out
    assert "FAILING  meter 2 (cellar) since 2026-03-01 12:00:00 UTC" in out
    assert reason in " ".join(out.split())
    assert "emm meters check" in out
    assert (meters[1]["status"], meters[2]["status"]) == ("ok", "failing")


def test_a_dead_gateway_is_one_entry_for_all_its_meters(emm, database):
    for number in range(1, 6):
        reason = f"127.0.0.1:5020 unit {number}: refused"
        add(database, number, f"failing_since = now(), reason = '{reason}', silent = true")
    _, out, _, _ = shown(emm)
    assert "5 meters (1, 2, 3, 4, 5)" in out


def test_a_register_row_that_cannot_be_used_is_named_wherever_its_meter_is(emm, database, simulated_gateway):
    gateway = simulated_gateway({1: unit()})
    database("ALTER TABLE registers DROP CONSTRAINT registers_data_type")
    database("INSERT INTO registers VALUES ('sdm630', 2, 'voltageL2', 'V', 9000, 4, 2, 2)")
    add(database, 1, port=gateway.port)
    code, out, _, meters = shown(emm)
    assert code == 2, "no code server runs"
    assert meters[1]["status"] == "degraded"
    assert "voltageL2" in out
    for words in (["meters", "list"], ["meters", "check", "1"], ["poll", "--dry-run"], ["types", "show", "sdm630"]):
        assert "voltageL2" in emm(*words).stdout, words
    assert "voltageL2" in emm("db", "check").stdout
    assert emm("meters", "check", "1").returncode == 1


def test_a_register_that_the_device_refuses_makes_its_meter_degraded_until_a_person_accepts_it(
    emm, database, simulated_gateway
):
    gateway = simulated_gateway({1: unit(exceptions={52: 2, 53: 2})})
    add(database, 1, port=gateway.port)
    polled = json.loads(emm("poll", "--json").stdout)
    (meter,) = polled["meters"]
    assert meter["status"] == "degraded"
    ((issue,),) = [meter["registers"]]
    assert (issue["measurement"], issue["issue"]) == ("activePower", "unsupported")
    assert database("SELECT status FROM emm_poll") == [("degraded",)]

    accepted = emm("registers", "accept-absent", "1", "activePower")
    assert accepted.returncode == 0, accepted.stderr
    assert json.loads(emm("poll", "--json").stdout)["meters"][0]["status"] == "ok"
    assert emm("registers", "accept-absent", "1", "activePower", "--undo").returncode == 0
    assert json.loads(emm("poll", "--json").stdout)["meters"][0]["status"] == "degraded"


def test_a_measurement_that_the_type_does_not_have_cannot_be_accepted_as_absent(emm, database):
    add(database, 1)
    result = emm("registers", "accept-absent", "1", "voltageL9")
    assert result.returncode == 2
    assert "voltageL9" in result.stderr


def test_an_implausible_value_makes_its_meter_degraded_and_says_why(emm, database, simulated_gateway):
    add(database, 1, port=simulated_gateway({1: unit(voltage=4e9)}).port)
    (meter,) = json.loads(emm("poll", "--json").stdout)["meters"]
    assert meter["status"] == "degraded"
    assert "outside of -500000 to 500000" in meter["registers"][0]["reason"]
    assert "outside of" in emm("poll", "--dry-run").stdout
    assert "outside of" in emm("meters", "check", "1").stdout


def test_a_misconfigured_meter_says_which_row_and_column(emm, database):
    add(database, 1, type="nothing")
    code, out, _, meters = shown(emm)
    assert (code, meters[1]["status"]) == (2, "misconfigured")
    assert "MISCONFIGURED  meter 1" in out
    assert "nothing" in out


def test_a_dead_daemon_is_reported_with_its_last_heartbeat_and_the_meters_are_stale(emm, database):
    add(database, 1, "polled_at = now() - interval '1 hour', last_read_at = now() - interval '1 hour'")
    settings = Settings(**{name.lower(): value for name, value in emm.settings.items()})
    dagster = create_engine(settings.dagster_database_url)
    with dagster.begin() as connection:
        connection.execute(text("UPDATE daemon_heartbeats SET timestamp = timestamp - interval '1 hour'"))
    dagster.dispose()
    code, out, parts, meters = shown(emm)
    assert code == 2
    assert "Dagster's daemon" in parts
    assert meters[1]["status"] == "stale"
    assert "Dagster's daemon" in meters[1]["reason"]
    assert "start it" in out


def test_an_unavailable_store_and_the_points_that_wait_for_it_are_reported(emm, database):
    add(database, 1)
    outbox = Outbox(Path(emm.settings["OUTBOX_DIR"]), 10**9)
    outbox.put(points(readings(reading())), datetime.now(UTC) - timedelta(minutes=5), "run-a").close()
    outbox.note_error("InfluxDB at http://127.0.0.1:1 does not answer")
    url = f"http://127.0.0.1:{free_port()}"
    _, out, parts, meters = shown(emm, READINGS_STORE="influxdb", INFLUXDB_URL=url, INFLUXDB_ORG="emm")
    assert {"readings store", "outbox"} <= set(parts)
    assert parts["outbox"]["status"] == "waiting for store"
    assert meters[1]["status"] == "waiting for store"
    assert "does not answer" in out


def test_a_full_outbox_is_failing_because_the_oldest_readings_are_lost(emm, database, tmp_path):
    add(database, 1)
    folder = tmp_path / "outbox"
    folder.mkdir()
    (folder / "padding").write_bytes(bytes(999_000))
    _, out, parts, _ = shown(emm, OUTBOX_MAX_MB="1")
    assert parts["outbox"]["status"] == "failing"
    assert "the oldest readings are lost" in " ".join(out.split())


def test_a_wrong_clock_is_reported_and_makes_the_meters_degraded(emm, database):
    add(database, 1, "last_read_at = '2100-01-01 00:00+00'")
    _, out, parts, meters = shown(emm)
    assert "clock" in parts
    assert meters[1]["status"] == "degraded"
    assert "2100-01-01" in out


def test_an_unavailable_database_is_reported_and_the_meters_are_unknown(emm):
    port = str(free_port())
    code, out, parts, meters = shown(emm, POSTGRES_HOST="127.0.0.1", POSTGRES_PORT=port)
    assert code == 2
    assert meters is None
    assert f"127.0.0.1:{port}" in parts["PostgreSQL"]["reason"]
    assert "meters unknown" in out


def test_a_database_whose_disk_is_full_is_distinguished_from_an_unavailable_one(emm, database):
    """PostgreSQL itself raises the error of a full disk, SQLSTATE 53100, here from an event trigger."""
    add(database, 1)
    database("""
        CREATE FUNCTION full_disk() RETURNS event_trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'could not extend file "base/5/1259": No space left on device' USING ERRCODE = '53100';
        END $$
    """)
    database("CREATE EVENT TRIGGER full_disk ON ddl_command_start EXECUTE FUNCTION full_disk()")
    code, out, parts, meters = shown(emm)
    assert code == 2
    assert "No space left on device" in parts["PostgreSQL"]["reason"]
    assert "make room on PostgreSQL's disk" in " ".join(out.split())
    assert meters is not None, "it can still be read"


def test_one_screen_is_enough_for_many_failing_meters(emm, database):
    for number in range(40):
        add(database, number, f"failing_since = now(), reason = 'reason {number}'")
    _, out, _, _ = shown(emm)
    assert len(out.splitlines()) <= 24
    assert "and 35 more: emm meters list" in out
