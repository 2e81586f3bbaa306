"""Databases of every origin are upgraded, and no row is lost."""

import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import CheckConstraint, Engine, text

from emm_pipeline.alerts.rules import Alert, AlertLine
from emm_pipeline.alerts.state import claimed_lines, last_waiting_line, raised_alerts
from emm_pipeline.config_db.engine import create_config_engine
from emm_pipeline.config_db.loader import load_fleet
from emm_pipeline.config_db.tables import metadata
from emm_pipeline.config_db.upgrade import VERSION_TABLE, _alembic, check, ensure_database, upgrade
from emm_pipeline.errors import ConfigDatabaseError, ConfigurationError
from emm_pipeline.stores.postgresql import tables as readings_tables

SCHEMA = """
    SELECT table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable || coalesce(column_default, '')
    FROM information_schema.columns WHERE table_schema = 'public'
    UNION ALL SELECT conname || ' ' || pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
    ORDER BY 1
"""


def execute(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def select(engine: Engine, query: str) -> list[tuple]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def test_an_empty_database_gets_all_tables_and_no_rows(empty_database):
    assert check(empty_database).current is None
    assert upgrade(empty_database) == [f"Database is up to date ({check(empty_database).wanted})"]
    assert check(empty_database).up_to_date
    assert load_fleet(empty_database).meters == ()


def test_the_tables_in_the_code_are_the_tables_in_the_database(config_engine):
    both = [metadata, readings_tables.metadata]
    with config_engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        differences = [d for d in compare_metadata(context, both) if "readings_series" not in str(d)]
    checks = {
        str(c.name) for table in metadata.tables.values() for c in table.constraints if isinstance(c, CheckConstraint)
    }
    assert differences == []
    assert {
        name
        for (name,) in select(config_engine, "SELECT conname FROM pg_constraint WHERE contype = 'c' AND conrelid <> 0")
    } == checks


def test_a_bare_database_ends_with_the_same_schema_as_a_new_one(bare_database, config_engine):
    upgrade(bare_database)
    assert select(bare_database, SCHEMA) == select(config_engine, SCHEMA)


def test_a_bare_database_keeps_its_rows(bare_database):
    before = load_fleet(bare_database)
    upgrade(bare_database)
    assert load_fleet(bare_database) == before
    assert [meter.id for meter in before.meters] == [0]


def test_upgrading_twice_changes_nothing(bare_database):
    upgrade(bare_database)
    schema = select(bare_database, SCHEMA)
    assert upgrade(bare_database) == []
    assert select(bare_database, SCHEMA) == schema


def test_two_upgrades_at_once_are_safe(bare_database):
    with ThreadPoolExecutor(4) as pool:
        notes = list(pool.map(upgrade, [bare_database] * 4))
    assert sorted(map(len, notes)) == [0, 0, 0, 1]
    assert check(bare_database).up_to_date


@pytest.fixture
def legacy_database(empty_database):
    """Two tables that a person created, with other types, without keys, and with invalid rows among valid ones."""
    execute(
        empty_database,
        """CREATE TABLE energy_meters (id numeric, host varchar(80), port varchar, slave_address smallint,
           type character(20), description varchar)""",
        """CREATE TABLE registers (type character(30), register_address smallint, measurement_name text,
           data_unit varchar(10), data_type smallint, function_code varchar(2), word_order smallint,
           byte_order smallint)""",
        """INSERT INTO energy_meters VALUES
           (1, '10.0.0.1', '502', 1, 'sdm630', 'good'), (2, '10.0.0.2', '502', 1, 'sdm630', 'twice'),
           (2, '10.0.0.3', '502', 1, 'sdm630', 'twice'), (NULL, '', '70000', 300, NULL, NULL)""",
        """INSERT INTO registers VALUES ('sdm630', 0, 'voltageL1', 'V', 3, '4', 2, 2),
           ('sdm630', 2, 'voltageL2', 'V', 99, '4', 2, 2)""",
    )
    return empty_database


def test_a_hand_made_database_keeps_every_row_even_invalid_ones(legacy_database):
    query = """SELECT id::integer, host, port::integer, slave_address, rtrim(type), description
               FROM energy_meters ORDER BY 1, 2"""
    before = select(legacy_database, query)
    upgrade(legacy_database)
    assert select(legacy_database, query) == before
    assert len(before) == 4
    assert select(legacy_database, "SELECT count(*) FROM registers") == [(2,)]


def test_a_hand_made_database_is_read_the_same_before_and_after_the_upgrade(legacy_database):
    upgrade(legacy_database)
    fleet = load_fleet(legacy_database)
    assert [meter.id for meter in fleet.meters] == [1]
    assert [register.measurement_name for register in fleet.types["sdm630"].registers] == ["voltageL1"]


def test_issues_of_old_rows_are_reported_by_row_until_they_are_corrected(legacy_database):
    notes = "\n".join(upgrade(legacy_database))
    assert "energy_meters has no key on id: null or not unique in 3 rows" in notes
    assert "energy_meters_port" in notes
    assert "registers_data_type" in notes
    assert "sdm630 2 voltageL2" in notes

    execute(
        legacy_database,
        "DELETE FROM energy_meters WHERE id IS NULL OR host = '10.0.0.3'",
        "UPDATE registers SET data_type = 3 WHERE data_type = 99",
    )
    assert upgrade(legacy_database) == []
    unvalidated = "SELECT count(*) FROM pg_constraint WHERE NOT convalidated"
    assert select(legacy_database, unvalidated) == [(0,)]
    with pytest.raises(Exception, match="energy_meters_pkey"):
        execute(legacy_database, "INSERT INTO energy_meters VALUES (1, 'h', 502, 1, 'x', NULL)")


def test_an_invalid_row_beside_old_ones_is_rejected_at_once(legacy_database):
    upgrade(legacy_database)
    with pytest.raises(Exception, match="energy_meters_port"):
        execute(legacy_database, "INSERT INTO energy_meters VALUES (9, 'h', 70001, 1, 'x', NULL)")


def test_numbers_kept_as_text_become_integers_where_all_of_them_are(legacy_database):
    upgrade(legacy_database)
    types = "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'energy_meters'"
    found = dict(select(legacy_database, types))
    assert (found["port"], found["slave_address"], found["type"]) == ("integer", "integer", "text")


def test_a_text_that_is_not_a_number_stays_and_is_reported(legacy_database):
    execute(legacy_database, "INSERT INTO energy_meters VALUES (7, 'h', 'five', 1, 'sdm630', NULL)")
    notes = upgrade(legacy_database)
    reason = "energy_meters.port is character varying, not integer, and holds other values in 1 row (id 7)"
    assert f"{reason}: correct it, and upgrade again" in notes
    assert select(legacy_database, "SELECT port FROM energy_meters WHERE id = 7") == [("five",)]
    assert [meter.id for meter in load_fleet(legacy_database).meters] == [1]


def test_a_column_that_a_view_needs_does_not_stop_the_upgrade(legacy_database):
    execute(legacy_database, "CREATE VIEW ports AS SELECT port FROM energy_meters")
    notes = "\n".join(upgrade(legacy_database))
    reason = "energy_meters.port is character varying, not integer"
    assert f"{reason}, which could not be changed: cannot alter type of a column used by a view" in notes
    state = check(legacy_database)
    assert state.is_newest
    assert reason in state.differences
    assert not state.up_to_date


def test_every_id_that_any_table_names_is_known_as_used_after_the_upgrade(bare_database):
    config_engine = bare_database
    with config_engine.begin() as connection:
        command.upgrade(_alembic(connection), "0008")
    execute(
        config_engine,
        "INSERT INTO energy_meters VALUES (1, 'h', 502, 1, 't', NULL), (-5, 'h', 502, 2, 't', NULL)",
        "INSERT INTO meter_status (id) VALUES (2)",
        "INSERT INTO readings VALUES (now(), 3, NULL, 'm', NULL, 1), (now(), 3, NULL, 'n', NULL, 1)",
        "INSERT INTO readings VALUES (now(), 40, NULL, 'm', NULL, 1)",
        "INSERT INTO emm_poll VALUES (now(), 6, NULL, true, 1, 1, 1, NULL)",
    )
    upgrade(config_engine)
    assert select(config_engine, "SELECT id FROM used_meter_ids ORDER BY id") == [
        (-5,),
        (0,),
        (1,),
        (2,),
        (3,),
        (6,),
        (40,),
    ]


def test_alerts_and_lines_that_wait_are_kept_when_their_tables_are_renamed(bare_database):
    with bare_database.begin() as connection:
        command.upgrade(_alembic(connection), "0031")
    execute(
        bare_database,
        "INSERT INTO troubles VALUES ('meter 5', 'meter 5 (barn)', '2026-03-01 12:00+00', 'no reply')",
        "INSERT INTO mail_lines (begun, line, channel) VALUES (true, 'meter 5 fails', 'mail')",
    )
    upgrade(bare_database)
    assert raised_alerts(bare_database) == [
        Alert("meter 5", "meter 5 (barn)", datetime(2026, 3, 1, 12, tzinfo=UTC), "no reply")
    ]
    with claimed_lines(bare_database, 10) as lines:
        assert lines == [AlertLine(True, "meter 5 fails")]
    execute(bare_database, "INSERT INTO alert_lines (raised, line) VALUES (false, 'meter 5 has recovered')")
    assert last_waiting_line(bare_database) == 2, "the numbers of lines continue"


def test_columns_that_a_person_added_stay(bare_database):
    execute(
        bare_database,
        "ALTER TABLE energy_meters ADD COLUMN location text DEFAULT 'cellar'",
        "ALTER TABLE energy_meters ADD COLUMN serial bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY",
    )
    assert len(upgrade(bare_database)) == 1
    assert select(bare_database, "SELECT location, enabled FROM energy_meters") == [("cellar", True)]
    with pytest.raises(Exception, match="energy_meters_id_key"):
        execute(bare_database, "INSERT INTO energy_meters VALUES (0, 'h', 502, 1, 'x', NULL)")


def test_a_failed_upgrade_leaves_the_database_as_it_was(bare_database):
    execute(bare_database, "CREATE TABLE meter_status (mine integer)")
    schema = select(bare_database, SCHEMA)
    with pytest.raises(ConfigDatabaseError, match="meter_status"):
        upgrade(bare_database)
    assert select(bare_database, SCHEMA) == schema


def test_a_database_of_a_newer_version_is_refused_with_a_reason(config_engine):
    execute(config_engine, f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    with pytest.raises(ConfigurationError, match="revision 9999, which this version of EMM does not know"):
        upgrade(config_engine)


def test_an_upgrade_leaves_logging_alone(bare_database):
    logger = logging.getLogger("somebody.else")
    handlers = list(logging.getLogger().handlers)
    upgrade(bare_database)
    assert not logger.disabled
    assert logging.getLogger().handlers == handlers


def test_a_database_is_created_once_also_by_several_at_once(postgres):
    url = postgres.url('dagster "storage"')
    with ThreadPoolExecutor(4) as pool:
        created = list(pool.map(ensure_database, [url] * 4))
    assert sorted(created) == [False, False, False, True]
    engine = create_config_engine(url)
    assert select(engine, "SELECT current_database()") == [('dagster "storage"',)]
    engine.dispose()


def test_creating_a_database_on_an_unavailable_server_is_an_error():
    with pytest.raises(ConfigDatabaseError, match="is PostgreSQL running"):
        ensure_database("postgresql://emm:secret@127.0.0.1:1/dagster")
