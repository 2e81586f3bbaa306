"""Columns of `registers` that go together, sums, and meters' factors: what is wrong is reported by name."""

import pytest
from sqlalchemy import text

from emm_pipeline.config_db.editing.combined_files import plan_combined_import, read_combined_file, write_combined_file
from emm_pipeline.config_db.editing.register_rows import combined_rows
from emm_pipeline.config_db.loader import load_fleet
from emm_pipeline.config_db.validation import check_rows
from emm_pipeline.fleet import CombinedMeasurement, MeterType, Part


def execute(engine, *statements):
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


METER = {"id": 1, "host": "10.0.0.1", "port": 502, "slave_address": 7, "type": "t"}
REGISTER = {
    "type": "t",
    "register_address": 10,
    "measurement_name": "power",
    "data_unit": "W",
    "data_type": 2,
    "function_code": 3,
    "word_order": 2,
    "byte_order": 2,
}


@pytest.mark.parametrize(
    ("columns", "column", "reason"),
    [
        ({"function_code": 1}, "data_type", "is LONG, but function_code 1 reads single bits: 9 (BOOL)"),
        (
            {"function_code": 2, "data_type": 9, "mask": 1},
            "mask",
            "goes with function_code 3 or 4, not with 2, which reads bits",
        ),
        ({"data_type": 17}, "length", "is null; a STRING needs the number of its registers"),
        ({"length": 4}, "length", "goes with data_type 17 (STRING), not with LONG"),
        ({"data_type": 3, "mask": 1}, "mask", "goes with data types that are integers, not with FLOAT"),
        ({"data_type": 1, "mask": "0x10000"}, "mask", "is 0x10000, and INT has 16 bits"),
        ({"mask": 0}, "mask", "is 0; allowed: 1 to 9223372036854775807"),
        ({"sign_register": 5}, "sign_mask", "is null; sign_register and sign_mask go together"),
        ({"sign_mask": 5}, "sign_register", "is null; sign_register and sign_mask go together"),
        (
            {"data_type": 1, "high_register_address": 5},
            "high_register_address",
            "goes with data types of 32 and 64 bits, not with INT",
        ),
        (
            {"high_register_address": 10},
            "high_register_address",
            "is 10, where the lower half is; leave it out, or correct it",
        ),
        ({"model_copy": 2}, "model_copy", "goes with model: it selects one of several copies of the model"),
        ({"model": 203, "model_copy": 0}, "model_copy", "is 0; allowed: 1 to 100"),
        ({"invalid_values": "65535 none"}, "invalid_values", "has a value that is 'none'; allowed: a finite number"),
        ({"value_offset": "nan"}, "value_offset", "is 'nan'; allowed: a finite number"),
        ({"absolute": "maybe"}, "absolute", "is 'maybe'; allowed: true, false"),
    ],
)
def test_columns_that_contradict_one_another_are_reported_by_name(columns, column, reason):
    other = REGISTER | {"register_address": 0, "measurement_name": "voltage"}
    fleet = check_rows([METER], [REGISTER | columns, other], [])
    (issue,) = fleet.issues
    assert (issue.table, issue.column, issue.reason) == ("registers", column, reason)
    assert [register.measurement_name for register in fleet.types["t"].registers] == ["voltage"]


def test_null_means_the_default_in_every_further_column():
    columns = ("value_offset", "invalid_values", "absolute", "model_copy", "uses_factor", "stored", "mask", "length")
    assert check_rows([], [REGISTER | dict.fromkeys(columns)], []).types == check_rows([], [REGISTER], []).types


def test_registers_of_four_bytes_are_a_property_of_the_type():
    fleet = check_rows([METER], [REGISTER], [{"type": "t", "register_bytes": 4}])
    (register,) = fleet.types["t"].registers
    assert (fleet.types["t"].register_bytes, register.count) == (4, 1)
    fleet = check_rows([METER], [REGISTER], [{"type": "t", "register_bytes": 3}])
    assert [str(issue) for issue in fleet.issues] == ["meter_types, type 't': register_bytes is 3; allowed: 2, 4"]


@pytest.mark.parametrize(
    ("columns", "column", "reason"),
    [
        ({"factor": 0}, "factor", "is 0; allowed: a finite number other than 0"),
        ({"may_be_off": "sometimes"}, "may_be_off", "is 'sometimes'; allowed: true, false"),
    ],
)
def test_a_meter_with_an_impossible_factor_is_not_polled_and_reported(columns, column, reason):
    fleet = check_rows([METER | columns], [REGISTER], [])
    (issue,) = fleet.issues
    assert (issue.column, issue.reason, issue.meter_id) == (column, reason, 1)
    assert fleet.meters == ()


# Sums

IMPORT, EXPORT = (REGISTER | {"measurement_name": name} for name in ("import", "export"))
PARTS = [
    {"type": "t", "measurement_name": "gridPower", "data_unit": "W", "part": "import"},
    {"type": "t", "measurement_name": "gridPower", "data_unit": "W", "part": "export", "factor": -1, "optional": "t"},
]
GRID = CombinedMeasurement("gridPower", "W", (Part("export", -1.0, optional=True), Part("import")))


def test_the_parts_of_a_sum_are_measurements_of_its_type():
    fleet = check_rows([METER], [IMPORT, EXPORT], [], PARTS)
    assert fleet.issues == ()
    assert fleet.types["t"].combined == (GRID,)


@pytest.mark.parametrize(
    ("columns", "column", "reason"),
    [
        ({"part": "sun"}, "part", "is 'sun', which is not a valid measurement of the type's registers"),
        ({"part": "export"}, "part", "is 'export' a second time: use one row with the sum of the factors"),
        ({"factor": 0}, "factor", "is 0; allowed: a finite number other than 0"),
        ({"part": None}, "part", "is null; allowed: a name"),
    ],
)
def test_a_sum_with_a_wrong_part_is_not_computed_without_it(columns, column, reason):
    fleet = check_rows([METER], [IMPORT, EXPORT], [], [PARTS[0] | columns, PARTS[1]])
    (issue,) = fleet.issues
    assert (issue.table, issue.column, issue.reason) == ("combined_measurements", column, reason)
    assert fleet.types["t"].combined == ()
    assert [meter.id for meter in fleet.meters] == [1], "its registers are read all the same"


def test_a_sum_may_not_have_the_name_of_a_stored_register():
    stored = REGISTER | {"measurement_name": "gridPower"}
    fleet = check_rows([METER], [IMPORT, EXPORT, stored], [], PARTS)
    assert {issue.column for issue in fleet.issues} == {"measurement_name"}
    fleet = check_rows([METER], [IMPORT, EXPORT, stored | {"stored": False}], [], PARTS)
    assert fleet.issues == ()


def test_sums_are_loaded_with_the_types_of_enabled_meters(config_engine):
    execute(
        config_engine,
        "INSERT INTO energy_meters VALUES (1, 'h', 502, 1, 't', NULL)",
        "INSERT INTO registers VALUES ('t', 0, 'import', 'W', 4, 3, 2, 2), ('t', 1, 'export', 'W', 4, 3, 2, 2)",
        "INSERT INTO combined_measurements VALUES ('t', 'sum', 'W', 'import')",
        "INSERT INTO combined_measurements (type, measurement_name, part) VALUES ('unused', 'sum', 'import')",
    )
    fleet = load_fleet(config_engine)
    assert fleet.types["t"].combined == (CombinedMeasurement("sum", "W", (Part("import"),)),)
    assert fleet.issues == ()


def test_exported_sums_are_imported_unchanged():
    rows = combined_rows(MeterType("t", combined=(GRID, CombinedMeasurement("x", None, (Part("import", 0.5),)))))
    text = write_combined_file(rows)
    assert read_combined_file(text.encode(), [IMPORT, EXPORT]) == (sorted(rows, key=str), [])
    assert plan_combined_import(rows, rows) == ([], [])


def test_a_file_replaces_the_sums_that_it_has_and_leaves_others():
    other = CombinedMeasurement("x", None, (Part("import"),))
    before = combined_rows(MeterType("t", combined=(GRID, other)))
    after = combined_rows(MeterType("t", combined=(CombinedMeasurement("gridPower", "W", (Part("import"),)),)))
    remove, add = plan_combined_import(before, after)
    assert (set(before) - set(remove)) | set(add) == after | combined_rows(MeterType("t", combined=(other,)))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"type,measurement_name\n", "line 1: the header lacks data_unit, part"),
        (b"type,measurement_name,data_unit,part\nt,sum,W,sun\n", "part is 'sun', which is not a valid measurement"),
        (b"\xff", "is not UTF-8"),
    ],
)
def test_a_wrong_file_of_sums_changes_nothing_and_says_why(content, reason):
    rows, (issue, *_) = read_combined_file(content, [IMPORT, EXPORT])
    assert rows == []
    assert reason in str(issue)
