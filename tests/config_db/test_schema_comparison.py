"""The check compares types, lengths, nullability, keys and constraints; the upgrade corrects them."""

import pytest
from sqlalchemy import text

from emm_pipeline.config_db.loader import load_fleet
from emm_pipeline.config_db.upgrade import check, upgrade

METER = "INSERT INTO energy_meters VALUES (1, '10.0.0.1', 502, 1, 't', 'cellar')"
REGISTER = "INSERT INTO registers VALUES ('t', 0, 'voltage', 'V', 1, 3, 2, 2)"


def execute(engine, *statements):
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def select(engine, query):
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


CHANGES = [
    ("registers ALTER data_unit TYPE varchar(8)", "registers.data_unit is character varying(8), not text"),
    ("registers ALTER data_unit SET NOT NULL", "registers.data_unit is NOT NULL, though it may be null"),
    ("registers ALTER scale TYPE real", "registers.scale is real, not double precision"),
    ("registers ALTER invalid_value TYPE numeric(6, 2)", "registers.invalid_value is numeric(6,2), not numeric"),
    ("registers ALTER register_address TYPE smallint", "registers.register_address is smallint, not integer"),
    ("energy_meters ALTER description SET NOT NULL", "energy_meters.description is NOT NULL, though it may be null"),
    ("energy_meters ALTER host TYPE varchar(15)", "energy_meters.host is character varying(15), not text"),
    (
        "energy_meters DROP CONSTRAINT energy_meters_host, ALTER host TYPE inet USING host::inet",
        "energy_meters.host is inet, not text",
    ),
    ("energy_meters ALTER enabled DROP NOT NULL", "energy_meters.enabled can be null"),
    ("energy_meters DROP CONSTRAINT energy_meters_pkey", "energy_meters has no key on id"),
    (
        "energy_meters DROP CONSTRAINT energy_meters_port",
        "energy_meters_port (port IS NOT NULL AND port BETWEEN 1 AND 65535) is not enforced",
    ),
    (
        "energy_meters DROP CONSTRAINT energy_meters_port, ADD CONSTRAINT energy_meters_port CHECK (port > 0)",
        "energy_meters_port is (port > 0), not port IS NOT NULL AND port BETWEEN 1 AND 65535",
    ),
    (
        "registers DROP CONSTRAINT registers_scale, ADD CONSTRAINT registers_scale CHECK (scale <> 0) NOT VALID",
        "registers_scale is (scale <> (0)::double precision), not scale <> 0 AND",
    ),
    (
        "registers ADD CHECK (data_type BETWEEN 1 AND 3)",
        "registers_data_type_check (((data_type >= 1) AND (data_type <= 3))) forbids what registers may hold",
    ),
    (
        "registers ADD CONSTRAINT \"Unit\" CHECK (data_unit IN ('V', 'A', 'W', 'kWh'))",
        "Unit ((data_unit = ANY (ARRAY['V'::text, 'A'::text, 'W'::text, 'kWh'::text]))) forbids what registers",
    ),
    (
        "energy_meters ADD CONSTRAINT lan CHECK (port = 502 OR host <> 'meter')",
        "lan (((port = 502) OR (host <> 'meter'::text))) forbids what energy_meters may hold",
    ),
]


@pytest.mark.parametrize(("change", "difference"), CHANGES, ids=[difference[:60] for _, difference in CHANGES])
def test_a_narrower_table_is_found_by_the_check_and_corrected_by_the_upgrade(config_engine, change, difference):
    execute(config_engine, METER, REGISTER, f"ALTER TABLE {change}")
    fleet = load_fleet(config_engine)
    state = check(config_engine)
    assert any(found.startswith(difference) for found in state.differences), state.differences
    assert not state.up_to_date
    upgrade(config_engine)
    assert check(config_engine).up_to_date
    assert load_fleet(config_engine) == fleet


def test_changes_of_an_upgrade_to_a_persons_constraints_are_reported_once(config_engine):
    execute(config_engine, "ALTER TABLE registers ADD CONSTRAINT few CHECK (data_type < 4)")
    dropped = "few ((data_type < 4)) forbids what registers may hold: dropped"
    assert upgrade(config_engine) == [dropped]
    assert upgrade(config_engine) == []


@pytest.mark.parametrize(
    "change",
    [
        "registers ADD CHECK (data_type BETWEEN 0 AND 99)",
        "registers ADD CHECK (btrim(measurement_name) <> '')",
        "registers ALTER data_unit TYPE varchar",
        "energy_meters ADD location text NOT NULL DEFAULT 'cellar' CHECK (location <> '')",
        "energy_meters ADD CHECK (length(host) <= 255)",
    ],
)
def test_columns_that_are_wide_enough_and_a_persons_own_columns_are_not_changed(config_engine, change):
    execute(config_engine, METER, REGISTER, f"ALTER TABLE {change}")
    assert check(config_engine).up_to_date
    query = "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint ORDER BY 1"
    before = select(config_engine, query)
    assert upgrade(config_engine) == []
    assert select(config_engine, query) == before


def test_a_type_that_holds_more_than_it_must_stays(config_engine):
    execute(config_engine, REGISTER, "ALTER TABLE registers ALTER data_type TYPE bigint, ALTER scale TYPE numeric")
    upgrade(config_engine)
    assert check(config_engine).up_to_date
    types = "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'registers'"
    found = dict(select(config_engine, types))
    assert (found["data_type"], found["scale"]) == ("bigint", "numeric")


def test_a_constraint_that_a_row_violates_applies_to_new_rows_and_the_row_is_reported_until_corrected(config_engine):
    execute(
        config_engine,
        "ALTER TABLE registers DROP CONSTRAINT registers_data_type",
        REGISTER.replace("1, 3, 2, 2", "99, 3, 2, 2"),
    )
    codes = ", ".join(map(str, range(1, 18)))
    violated = f"registers_data_type (data_type IS NOT NULL AND data_type IN ({codes})) does not hold"
    note = f"{violated} in 1 row (t 0 voltage): correct it, and upgrade again"
    assert upgrade(config_engine) == [note]
    assert check(config_engine).differences == (note,)
    with pytest.raises(Exception, match="registers_data_type"):
        execute(config_engine, REGISTER.replace("1, 3, 2, 2", "98, 3, 2, 2"))
    execute(config_engine, "UPDATE registers SET data_type = 1")
    assert upgrade(config_engine) == []
    assert check(config_engine).up_to_date


def test_the_check_changes_nothing_and_leaves_nothing_behind(config_engine):
    execute(config_engine, METER, "ALTER TABLE registers DROP CONSTRAINT registers_scale")
    query = "SELECT relname FROM pg_class UNION ALL SELECT conname FROM pg_constraint ORDER BY 1"
    before = select(config_engine, query)
    check(config_engine)
    assert select(config_engine, query) == before


def test_a_table_or_column_of_the_pipeline_that_someone_removed_is_named(config_engine):
    execute(config_engine, "DROP TABLE model_addresses", "ALTER TABLE meter_status DROP COLUMN reason")
    assert check(config_engine).differences == (
        "meter_status.reason is missing: it was removed after an upgrade",
        "table model_addresses is missing: it was removed after an upgrade",
    )
