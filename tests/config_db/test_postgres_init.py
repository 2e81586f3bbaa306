"""config/postgres_init.sql, executed by psql as in the PostgreSQL image, and by one statement as in the demo."""

import subprocess

import pytest
from sqlalchemy import text
from support.postgres import INIT_SQL

from emm_pipeline.config_db.loader import load_fleet
from emm_pipeline.config_db.upgrade import upgrade
from emm_pipeline.fleet import DataType, EnergyMeter, FunctionCode, Order, Register

VIRTUAL_METER = EnergyMeter(0, "virtual_modbustcp_server", 502, 0, "virtual_modbustcp", "test_energy_meter")


def run(engine, sql):
    with engine.begin() as connection:
        connection.exec_driver_sql(sql)


def test_the_virtual_meter_and_its_register_are_preconfigured(bare_database):
    fleet = load_fleet(bare_database)
    assert fleet.issues == ()
    assert fleet.meters == (VIRTUAL_METER,)
    assert fleet.types["virtual_modbustcp"].registers == (
        Register(
            *(0, "test_measurement", "test_u", DataType.INT, FunctionCode.READ_HOLDING_REGISTERS),
            word_order=Order.BIG_ENDIAN,
            byte_order=Order.BIG_ENDIAN,
        ),
    )


def test_psql_runs_it_twice_without_an_error_or_a_change(postgres, empty_database):
    for _ in range(2):
        subprocess.run(
            [
                postgres.psql,
                "-h",
                postgres.socket_dir,
                "-U",
                "postgres",
                "-v",
                "ON_ERROR_STOP=1",
                "-q",
                "-d",
                empty_database.url.database,
            ],
            input=INIT_SQL,
            text=True,
            check=True,
            capture_output=True,
        )
    assert load_fleet(empty_database).meters == (VIRTUAL_METER,)


@pytest.mark.parametrize("upgraded", [False, True])
def test_deleted_default_rows_stay_deleted(bare_database, upgraded):
    if upgraded:
        upgrade(bare_database)
    run(bare_database, "DELETE FROM energy_meters; DELETE FROM registers")
    run(bare_database, INIT_SQL)
    assert load_fleet(bare_database).meters == ()


def test_its_commented_example_is_right(bare_database):
    run(bare_database, INIT_SQL[INIT_SQL.index("-- INSERT") :].replace("--", ""))
    upgrade(bare_database)
    fleet = load_fleet(bare_database)
    assert fleet.issues == ()
    assert [meter.id for meter in fleet.meters] == [0, 1, 2]
    assert len(fleet.types["sdm630"].registers) == 7


def test_the_tables_have_their_columns_in_the_order_that_scripts_rely_on(bare_database):
    upgrade(bare_database)
    query = text(
        "SELECT table_name, string_agg(column_name, ' ' ORDER BY ordinal_position) FROM information_schema.columns"
        " WHERE table_name IN ('energy_meters', 'registers') GROUP BY 1"
    )
    with bare_database.connect() as connection:
        columns = dict(iter(connection.execute(query)))
    assert columns["energy_meters"].startswith("id host port slave_address type description")
    assert columns["registers"].startswith(
        "type register_address measurement_name data_unit data_type function_code word_order byte_order"
    )
