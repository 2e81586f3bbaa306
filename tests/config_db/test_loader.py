"""A configuration that cannot be read is an error, never an empty fleet."""

import pytest
from sqlalchemy import create_engine, event, text
from support.postgres import administrate

from emm_pipeline.config_db.engine import create_config_engine, database_errors
from emm_pipeline.config_db.loader import MAX_REGISTERS_PER_TYPE, load_fleet
from emm_pipeline.config_db.upgrade import upgrade
from emm_pipeline.errors import ConfigDatabaseError
from emm_pipeline.polling.plan import plan_shard
from emm_pipeline.polling.sharding import Shard

SECRET = "correct-horse"


def execute(engine, statement):
    with engine.begin() as connection:
        connection.exec_driver_sql(statement)


def test_a_changed_row_is_seen_at_the_next_load(config_engine):
    execute(config_engine, "INSERT INTO registers VALUES ('sdm630', 0, 'voltageL1', 'V', 3, 4, 2, 2)")
    execute(config_engine, "INSERT INTO energy_meters VALUES (1, '10.0.0.1', 502, 1, 'sdm630', NULL)")
    assert [meter.port for meter in load_fleet(config_engine).meters] == [502]
    execute(config_engine, "UPDATE energy_meters SET port = 8502")
    assert [meter.port for meter in load_fleet(config_engine).meters] == [8502]
    execute(config_engine, "DELETE FROM energy_meters")
    assert load_fleet(config_engine).meters == ()


def test_the_further_columns_are_read(config_engine):
    execute(config_engine, "INSERT INTO registers VALUES ('sdm630', 0, 'energy', 'kWh', 1, 4, 2, 2, 0.1, -32768)")
    execute(config_engine, "INSERT INTO energy_meters VALUES (1, '10.0.0.1', 502, 1, 'sdm630', NULL, false)")
    execute(config_engine, "INSERT INTO meter_types VALUES ('sdm630', 80, NULL, 2.5, NULL)")
    fleet = load_fleet(config_engine, all_types=True)
    assert (fleet.meters, fleet.issues) == ((), ())
    meter_type = fleet.types["sdm630"]
    assert (meter_type.max_registers_per_request, meter_type.max_gap, meter_type.timeout_s) == (80, 20, 2.5)
    (register,) = meter_type.registers
    assert (register.scale, register.invalid_value) == (0.1, -32768)


def test_the_rows_that_a_shard_needs_give_the_same_plan_as_all_rows(config_engine):
    execute(config_engine, "INSERT INTO registers VALUES ('sdm630', 0, 'voltageL1', 'V', 3, 4, 2, 2)")
    execute(
        config_engine,
        """INSERT INTO energy_meters (id, host, port, slave_address, type, transport)
           SELECT n, concat('10.0.0.', n / 2), 502, 1 + mod(n, 2), 'sdm630', NULL FROM generate_series(1, 40) n
           UNION VALUES (50, ' 10.0.0.3 ', 502, 3, 'sdm630', NULL), (51, '10.0.0.4', 502, 0, 'unknown', NULL),
                        (52, 'two words', 502, 1, 'sdm630', NULL),
                        (54, '/dev/ttyUSB0', 1, 1, 'sdm630', 'serial')""",
    )
    ids = range(100)
    shards = [Shard(index, 3) for index in range(3)]
    fleets = [load_fleet(config_engine, wanted=shard.may_need) for shard in shards]
    plans = [plan_shard(fleet, shard, ids) for fleet, shard in zip(fleets, shards, strict=True)]
    whole = load_fleet(config_engine)
    assert plans == [plan_shard(whole, shard, ids) for shard in shards]
    assert sum(len(plan.meters) for plan in plans) == 42
    assert [len(plan.unreadable) for plan in plans] == [2, 0, 0]
    assert all(len(fleet.meters) < 30 for fleet in fleets[1:]), "the others' rows were not checked"


def test_rows_with_the_same_id_are_not_used_whichever_of_them_is_wanted(bare_database):
    execute(bare_database, "DELETE FROM energy_meters")
    for host in ("10.0.0.1", "10.0.0.2"):
        execute(bare_database, f"INSERT INTO energy_meters VALUES (1, '{host}', 502, 1, 'virtual_modbustcp')")
    fleet = load_fleet(bare_database, wanted=lambda _, address: address == "10.0.0.1:502")
    assert fleet.meters == ()
    assert "occurs 2 times" in str(fleet.issues)


def test_registers_of_a_type_that_no_enabled_meter_has_are_not_loaded(config_engine):
    execute(config_engine, "INSERT INTO registers VALUES ('sdm630', 0, 'voltageL1', 'V', 3, 4, 2, 2)")
    execute(
        config_engine,
        "INSERT INTO registers SELECT 'unused', n, 'm' || n, 'V', 1, 4, 2, 2 FROM generate_series(0, 99) n",
    )
    execute(config_engine, "INSERT INTO energy_meters VALUES (1, '10.0.0.1', 502, 1, 'sdm630', NULL)")
    assert set(load_fleet(config_engine).types) == {"sdm630"}
    assert set(load_fleet(config_engine, all_types=True).types) == {"sdm630", "unused"}


def test_a_type_with_too_many_rows_is_reported_and_does_not_affect_others(config_engine):
    rows = MAX_REGISTERS_PER_TYPE + 1
    execute(config_engine, "INSERT INTO registers VALUES ('sdm630', 0, 'voltageL1', 'V', 3, 4, 2, 2)")
    series = f"generate_series(1, {rows}) n"
    execute(config_engine, f"INSERT INTO registers SELECT 'huge', n, 'm' || n, 'V', 1, 4, 2, 2 FROM {series}")
    execute(config_engine, "INSERT INTO energy_meters VALUES (1, '10.0.0.1', 502, 1, 'sdm630', NULL)")
    execute(config_engine, "INSERT INTO energy_meters VALUES (2, '10.0.0.1', 502, 2, 'huge', NULL)")
    fleet = load_fleet(config_engine)
    assert [meter.id for meter in fleet.meters] == [1]
    assert set(fleet.misconfigured) == {2}
    assert any(str(rows) in str(issue) and "huge" in str(issue) for issue in fleet.issues)


def test_a_database_that_was_never_upgraded_is_read_as_well(bare_database):
    fleet = load_fleet(bare_database)
    upgrade(bare_database)
    assert load_fleet(bare_database) == fleet
    assert len(fleet.meters) == 1


def test_a_missing_table_is_an_error_that_says_what_to_run(empty_database):
    with pytest.raises(ConfigDatabaseError, match=r'"energy_meters" does not exist.*run "emm db upgrade"'):
        load_fleet(empty_database)


def test_loading_writes_nothing_and_leaves_the_engine_able_to_write(config_engine):
    load_fleet(config_engine)
    execute(config_engine, "INSERT INTO energy_meters VALUES (1, 'h', 502, 1, 'x', NULL)")


def test_a_change_while_the_tables_are_read_is_seen_completely_or_not_at_all(config_engine):
    """If one transaction moves a meter to a new type and adds the type's rows, the loader sees both or neither."""
    execute(config_engine, "INSERT INTO registers VALUES ('old', 0, 'voltageL1', 'V', 3, 4, 2, 2)")
    execute(config_engine, "INSERT INTO energy_meters VALUES (1, '10.0.0.1', 502, 1, 'old', NULL)")
    before = load_fleet(config_engine)
    changes = ["UPDATE registers SET type = 'new'; UPDATE energy_meters SET type = 'new'"]

    @event.listens_for(config_engine, "after_cursor_execute")
    def change(_connection, _cursor, statement, *_):
        if "energy_meters" in statement and changes:
            execute(config_engine, changes.pop())

    assert load_fleet(config_engine) == before
    assert not changes, "they were made between the reads"
    assert [meter.type for meter in load_fleet(config_engine).meters] == ["new"]


def test_the_types_of_enabled_meters_are_loaded_however_they_are_spelled_and_rows_without_a_type_are_reported(
    config_engine,
):
    execute(config_engine, "ALTER TABLE registers DROP CONSTRAINT registers_type")
    for type_name in ("E'used\\u00a0'", "' used'", "'other'", "NULL"):
        row = f"INSERT INTO registers VALUES ({type_name}, 0, 'voltage' || coalesce({type_name}, ''), 'V', 3, 4, 2, 2)"
        execute(config_engine, row)
    execute(config_engine, "INSERT INTO energy_meters VALUES (1, '10.0.0.1', 502, 1, 'used ', NULL)")
    fleet = load_fleet(config_engine)
    assert [meter.type for meter in fleet.meters] == ["used"]
    assert set(fleet.types) == {"used"}
    assert len(fleet.types["used"].registers) == 2
    assert [issue.reason for issue in fleet.issues] == ["is null; allowed: a name"]
    assert set(load_fleet(config_engine, all_types=True).types) == {"used", "other"}


def test_an_absent_server_is_an_error_that_names_the_place_and_not_the_password():
    engine = create_config_engine(f"postgresql://emm:{SECRET}@127.0.0.1:1/meters")
    with pytest.raises(ConfigDatabaseError) as caught:
        load_fleet(engine)
    text_ = str(caught.value)
    assert text_.startswith("configuration database 127.0.0.1:1/meters: ")
    assert "is PostgreSQL running at POSTGRES_HOST and POSTGRES_PORT?" in text_
    assert SECRET not in text_
    assert "\n" not in text_


def test_a_host_name_that_does_not_resolve_is_an_error_without_the_password():
    engine = create_config_engine(f"postgresql://emm:{SECRET}@no-such-host.invalid/meters")
    with pytest.raises(ConfigDatabaseError, match=r"no-such-host\.invalid:5432/meters"):
        load_fleet(engine)


def test_an_absent_database_is_an_error_that_names_its_setting(postgres):
    engine = create_config_engine(postgres.url("nowhere").set(password=SECRET))
    with pytest.raises(ConfigDatabaseError, match="check POSTGRES_DB") as caught:
        load_fleet(engine)
    assert SECRET not in str(caught.value)


def test_a_password_that_a_driver_quotes_is_taken_out(postgres):
    engine = create_engine(postgres.url().set(password=SECRET))
    with pytest.raises(ConfigDatabaseError) as caught, database_errors(engine), engine.connect() as connection:
        connection.execute(text(f'SELECT "{SECRET}"'))
    assert SECRET not in str(caught.value)


def test_a_bare_url_means_the_driver_that_is_installed():
    assert create_config_engine("postgresql://emm@localhost/meters").driver == "psycopg2"


def test_a_connection_that_the_server_dropped_is_replaced_without_an_error(postgres, config_engine):
    load_fleet(config_engine)
    administrate(postgres, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'emm'")
    assert load_fleet(config_engine).meters == ()
