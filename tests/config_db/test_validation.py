"""Valid rows become the fleet. Configuration issues are reported by name and do not affect other rows."""

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emm_pipeline.config_db.validation import check_rows
from emm_pipeline.fleet import ConfigurationIssue, DataType, EnergyMeter, FunctionCode, MeterType, Order, Register

METER = {
    "id": 1,
    "host": "10.0.0.1",
    "port": 502,
    "slave_address": 7,
    "type": "sdm630",
    "description": "cellar",
    "enabled": True,
}
REGISTER = {
    "type": "sdm630",
    "register_address": 0,
    "measurement_name": "voltageL1",
    "data_unit": "V",
    "data_type": 3,
    "function_code": 4,
    "word_order": 2,
    "byte_order": 2,
    "scale": 1.0,
    "invalid_value": None,
}
GOOD_METER = EnergyMeter(1, "10.0.0.1", 502, 7, "sdm630", "cellar")
GOOD_REGISTER = Register(
    0, "voltageL1", "V", DataType.FLOAT, FunctionCode.READ_INPUT_REGISTERS, Order.BIG_ENDIAN, Order.BIG_ENDIAN
)
OTHER_METER = METER | {"id": 2}
OTHER_REGISTER = REGISTER | {"register_address": 2, "measurement_name": "voltageL2"}


def without(row: dict, *columns: str) -> dict:
    return {column: value for column, value in row.items() if column not in columns}


def test_good_rows_become_the_fleet():
    fleet = check_rows([METER], [REGISTER], [])
    assert fleet.meters == (GOOD_METER,)
    assert fleet.types == {"sdm630": MeterType("sdm630", (GOOD_REGISTER,))}
    assert fleet.issues == ()


def test_rows_of_the_two_first_tables_alone_are_enough():
    fleet = check_rows([without(METER, "enabled")], [without(REGISTER, "scale", "invalid_value")], [])
    assert (fleet.meters, fleet.types["sdm630"].registers) == ((GOOD_METER,), (GOOD_REGISTER,))


def test_no_rows_are_an_empty_fleet():
    fleet = check_rows([], [], [])
    assert (fleet.meters, fleet.types, fleet.issues) == ((), {}, ())


def test_numbers_kept_as_text_or_decimals_are_taken_where_they_are_exact():
    meter = METER | {"id": Decimal("1.0"), "port": " 502 ", "slave_address": 7.0, "enabled": "t"}
    register = REGISTER | {"data_type": "3", "function_code": Decimal(4), "scale": "1.0"}
    fleet = check_rows([meter], [register], [])
    assert (fleet.meters, fleet.types["sdm630"].registers) == ((GOOD_METER,), (GOOD_REGISTER,))


def test_spaces_around_names_units_and_hosts_do_not_count():
    meter = METER | {"host": " 10.0.0.1", "type": "sdm630\t", "description": "\u00a0cellar "}
    register = REGISTER | {"type": " sdm630", "measurement_name": "voltageL1\u00a0", "data_unit": " V"}
    fleet = check_rows([meter], [register], [{"type": "sdm630 ", "max_gap": 3}])
    assert fleet.issues == ()
    assert (fleet.meters, fleet.types["sdm630"].registers) == ((GOOD_METER,), (GOOD_REGISTER,))
    assert fleet.types["sdm630"].max_gap == 3


def test_a_measurement_in_two_spellings_is_one_series():
    rows = [REGISTER, REGISTER | {"measurement_name": " voltageL1", "register_address": 2}]
    fleet = check_rows([METER], rows, [])
    assert fleet.types["sdm630"].registers == (GOOD_REGISTER,)
    assert "occurs more than once" in fleet.issues[0].reason


def test_hexadecimal_numbers_kept_as_text_are_read():
    register = REGISTER | {"register_address": "0x156", "invalid_value": "0xFFFF"}
    (found,) = check_rows([METER], [register], []).types["sdm630"].registers
    assert (found.register_address, found.invalid_value) == (342, 65535)


def test_null_description_and_unit_stay_none_and_empty_ones_empty():
    fleet = check_rows(
        [METER | {"description": None}, OTHER_METER | {"description": ""}],
        [REGISTER | {"data_unit": None}, OTHER_REGISTER | {"data_unit": ""}],
        [],
    )
    assert [meter.description for meter in fleet.meters] == [None, ""]
    assert [register.data_unit for register in fleet.types["sdm630"].registers] == [None, ""]


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("port", 0, "is 0; allowed: 1 to 65535"),
        ("port", 65536, "is 65536; allowed: 1 to 65535"),
        ("port", None, "is null; allowed: 1 to 65535"),
        ("port", "http", "is 'http'; allowed: 1 to 65535"),
        ("port", 502.5, "is 502.5; allowed: 1 to 65535"),
        ("port", True, "is True; allowed: 1 to 65535"),
        ("port", "5_0", "is '5_0'; allowed: 1 to 65535"),
        ("port", Decimal("NaN"), "is NaN; allowed: 1 to 65535"),
        ("port", Decimal("1e999999"), "is 1E+999999; allowed: 1 to 65535"),
        ("slave_address", -1, "is -1; allowed: 0 to 255"),
        ("slave_address", 256, "is 256; allowed: 0 to 255"),
        ("host", None, "is null; allowed: a name"),
        ("host", "", "is ''; allowed: a name"),
        ("host", "a b", "is 'a b'; allowed: a name or an address without white space and control characters"),
        ("host", "a\nb", "is 'a\\nb'; allowed: a name or an address without white space and control characters"),
        ("host", "a\x00b", "is 'a\\x00b'; allowed: a name or an address without white space and control characters"),
        ("host", "a" * 256, "is 256 characters long; allowed: 255"),
        ("type", None, "is null; allowed: a name"),
        ("type", "boiler", "is 'boiler', a type without valid rows in the table registers"),
        (
            "type",
            "SDM630",
            "is 'SDM630', a type without valid rows in the table registers; did you mean 'sdm630'?",
        ),
        ("enabled", "perhaps", "is 'perhaps'; allowed: true, false"),
    ],
)
def test_a_meter_with_an_invalid_column_is_reported_and_affects_no_other(column, value, reason):
    fleet = check_rows([METER | {column: value}, OTHER_METER], [REGISTER], [])
    assert fleet.issues == (ConfigurationIssue("energy_meters", "id 1", column, reason, meter_id=1),)
    assert [meter.id for meter in fleet.meters] == [2]


def test_every_wrong_column_of_a_row_is_reported():
    fleet = check_rows([METER | {"port": 0, "slave_address": 300}], [REGISTER], [])
    assert [issue.column for issue in fleet.issues] == ["port", "slave_address"]


@pytest.mark.parametrize("value", [None, "x", 1.5, 2**31])
def test_a_meter_without_a_valid_id_is_reported_by_its_host(value):
    fleet = check_rows([METER | {"id": value}, OTHER_METER], [REGISTER], [])
    (issue,) = fleet.issues
    assert (issue.column, issue.meter_id) == ("id", None)
    assert issue.row.endswith("with host '10.0.0.1'")
    assert [meter.id for meter in fleet.meters] == [2]


def test_equal_rows_of_one_meter_are_one_meter():
    fleet = check_rows([METER, METER | {"port": "502"}], [REGISTER], [])
    assert fleet.meters == (GOOD_METER,)
    reason = "occurs 2 times with the same values; one of them is polled"
    assert fleet.issues == (ConfigurationIssue("energy_meters", "id 1", "id", reason),)


def test_none_of_several_different_rows_with_one_id_is_polled():
    fleet = check_rows([METER, METER | {"host": "10.0.0.9"}, OTHER_METER], [REGISTER], [])
    reason = "occurs 2 times with different values; none of them is polled"
    assert fleet.issues == (ConfigurationIssue("energy_meters", "id 1", "id", reason, meter_id=1),)
    assert [meter.id for meter in fleet.meters] == [2]


def test_neither_of_a_valid_and_an_invalid_row_with_one_id_is_polled():
    fleet = check_rows([METER, METER | {"port": 0}], [REGISTER], [])
    assert fleet.meters == ()
    assert {issue.column for issue in fleet.issues} == {"id", "port"}


@pytest.mark.parametrize("value", [False, "f", "false", 0])
def test_a_disabled_meter_is_omitted_without_issues(value):
    fleet = check_rows([METER | {"enabled": value, "port": 0}, OTHER_METER], [REGISTER], [])
    assert ([meter.id for meter in fleet.meters], fleet.issues) == ([2], ())


def test_two_meters_may_share_host_port_and_unit():
    fleet = check_rows([METER, OTHER_METER], [REGISTER], [])
    assert (len(fleet.meters), fleet.issues) == (2, ())


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("register_address", -1, "is -1; allowed: 0 to 65535"),
        ("register_address", 65536, "is 65536; allowed: 0 to 65535"),
        (
            "register_address",
            65535,
            "is 65535: a FLOAT there takes 2 registers and ends beyond the last address, 65535",
        ),
        ("measurement_name", None, "is null; allowed: a name"),
        ("measurement_name", " ", "is ' '; allowed: a name"),
        ("measurement_name", "emm_poll", "'emm_poll' is the name of the pipeline's own measurement"),
        ("data_unit", "k\nW", "'k\\nW' holds a line break or NUL, which InfluxDB cannot store"),
        (
            *("function_code", 6),
            (
                "is 6; allowed: 1 (READ_COILS), 2 (READ_DISCRETE_INPUTS), 3 (READ_HOLDING_REGISTERS), "
                "4 (READ_INPUT_REGISTERS)"
            ),
        ),
        ("word_order", 0, "is 0; allowed: 1 (LITTLE_ENDIAN), 2 (BIG_ENDIAN)"),
        ("byte_order", None, "is null; allowed: 1 (LITTLE_ENDIAN), 2 (BIG_ENDIAN)"),
        ("scale", 0, "is 0; allowed: a finite number other than 0"),
        ("scale", math.nan, "is nan; allowed: a finite number other than 0"),
        ("scale", math.inf, "is inf; allowed: a finite number other than 0"),
        ("scale", "1e400", "is '1e400'; allowed: a finite number other than 0"),
        (
            *("scale", "0,01"),
            "is '0,01'; allowed: a finite number other than 0; a decimal point is needed, not a comma",
        ),
        (
            *("register_address", "156h"),
            "is '156h'; allowed: 0 to 65535; hexadecimal numbers begin with 0x",
        ),
        (
            *("register_address", 400001),
            "is 400001; allowed: 0 to 65535; in a manual this is function_code 3 and register_address 0",
        ),
        ("invalid_value", "none", "is 'none'; allowed: a finite number"),
        ("invalid_value", Decimal("NaN"), "is NaN; allowed: a finite number"),
        ("invalid_value", Decimal("1e999"), "is 1E+999; allowed: a finite number"),
        ("scale_register", 65536, "is 65536; allowed: 0 to 65535"),
        ("model", 65535, "is 65535; allowed: 1 to 65534"),
        ("model", 103, "needs function_code 3 (READ_HOLDING_REGISTERS), the registers of SunSpec models"),
    ],
)
def test_a_register_with_an_invalid_column_is_reported_and_affects_no_other(column, value, reason):
    fleet = check_rows([METER], [REGISTER | {column: value}, OTHER_REGISTER], [])
    (issue,) = fleet.issues
    assert (issue.table, issue.column, issue.reason) == ("registers", column, reason)
    assert issue.row.startswith("type 'sdm630' register_address ")
    assert [register.measurement_name for register in fleet.types["sdm630"].registers] == ["voltageL2"]
    assert fleet.meters == (GOOD_METER,)


def test_an_unknown_data_type_is_reported_with_the_known_ones():
    fleet = check_rows([METER], [REGISTER | {"data_type": 18}, OTHER_REGISTER], [])
    assert str(fleet.issues[0]) == (
        "registers, type 'sdm630' register_address 0 measurement_name 'voltageL1': data_type is 18; allowed: "
        "1 (INT), 2 (LONG), 3 (FLOAT), 4 (UINT16), 5 (UINT32), 6 (INT64), 7 (UINT64), 8 (FLOAT64), 9 (BOOL), "
        "10 (SIGN_MAGNITUDE), 11 (UINT24), 12 (UINT48), 13 (INT48), 14 (BCD4), 15 (BCD8), "
        "16 (MODULO_10000), 17 (STRING)"
    )


def test_a_meter_whose_registers_are_all_invalid_is_reported_too():
    fleet = check_rows([METER], [REGISTER | {"data_type": 18}], [])
    assert [(issue.table, issue.meter_id) for issue in fleet.issues] == [
        ("energy_meters", 1),
        ("registers", None),
    ]
    assert (fleet.meters, fleet.types) == ((), {})


@pytest.mark.parametrize(
    ("value", "raw"),
    [
        (Decimal(-32768), -32768),
        (Decimal(18446744073709551615), 2**64 - 1),
        ("65535", 65535),
        (Decimal("-9999.5"), -9999.5),
        (Decimal("3.4e38"), 3.4e38),
    ],
)
def test_an_invalid_value_is_an_int_where_it_is_whole(value, raw):
    fleet = check_rows([METER], [REGISTER | {"invalid_value": value}], [])
    found = fleet.types["sdm630"].registers[0].invalid_value
    assert (found, type(found)) == (raw, type(raw))


def test_registers_are_sorted_by_function_code_and_address():
    rows = [
        REGISTER | {"register_address": address, "function_code": code, "measurement_name": f"m{code}{address}"}
        for code, address in [(4, 10), (4, 2), (3, 100)]
    ]
    fleet = check_rows([METER], rows, [])
    assert [r.measurement_name for r in fleet.types["sdm630"].registers] == ["m3100", "m42", "m410"]


def test_a_measurement_that_occurs_twice_is_read_once_from_the_lowest_address():
    second = REGISTER | {"register_address": 100}
    fleet = check_rows([METER], [second, REGISTER], [])
    assert fleet.types["sdm630"].registers == (GOOD_REGISTER,)
    (issue,) = fleet.issues
    assert "register_address 100" in issue.row
    assert issue.reason.endswith("the one with function_code 4 and register_address 0 is used")


def test_null_and_the_empty_unit_are_one_series():
    rows = [REGISTER | {"data_unit": None}, REGISTER | {"data_unit": "", "register_address": 2}]
    assert len(check_rows([METER], rows, []).types["sdm630"].registers) == 1


def test_a_measurement_in_two_units_is_two_series():
    rows = [REGISTER, REGISTER | {"data_unit": "mV", "register_address": 2}]
    fleet = check_rows([METER], rows, [])
    assert (len(fleet.types["sdm630"].registers), fleet.issues) == (2, ())


def test_a_meter_type_has_settings_for_requests():
    row = {"type": "sdm630", "max_registers_per_request": 80, "max_gap": 0, "timeout_s": 1.5, "request_pause_s": 0.1}
    fleet = check_rows([METER], [REGISTER], [row])
    assert fleet.types["sdm630"] == MeterType("sdm630", (GOOD_REGISTER,), 80, 0, 1.5, 0.1)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("max_registers_per_request", 0),
        ("max_registers_per_request", 126),
        ("max_gap", -1),
        ("max_gap", 125),
        ("timeout_s", 0),
        ("timeout_s", 61),
        ("timeout_s", math.nan),
        ("request_pause_s", -1),
        ("request_pause_s", 10.5),
    ],
)
def test_an_invalid_setting_of_a_type_is_reported_and_the_default_used(column, value):
    fleet = check_rows([METER], [REGISTER], [{"type": "sdm630", column: value}])
    assert fleet.types["sdm630"] == MeterType("sdm630", (GOOD_REGISTER,))
    assert [(issue.table, issue.column) for issue in fleet.issues] == [("meter_types", column)]


def test_nulls_of_a_type_are_the_defaults():
    row = {"type": "sdm630", "max_registers_per_request": None, "max_gap": None}
    fleet = check_rows([METER], [REGISTER], [row])
    assert (fleet.types["sdm630"], fleet.issues) == (MeterType("sdm630", (GOOD_REGISTER,)), ())


def test_a_type_without_meters_or_registers_is_not_an_issue():
    fleet = check_rows([], [], [{"type": "sdm120"}])
    assert (fleet.types, fleet.issues) == ({}, ())


def test_a_register_wider_than_the_requests_of_its_type_is_reported():
    fleet = check_rows(
        [METER],
        [REGISTER, OTHER_REGISTER | {"data_type": 1}],
        [{"type": "sdm630", "max_registers_per_request": 1}],
    )
    assert [register.measurement_name for register in fleet.types["sdm630"].registers] == ["voltageL2"]
    assert "more than the type's max_registers_per_request, 1" in fleet.issues[0].reason


@pytest.mark.parametrize("description", ["two\nlines", "ends in \\", "nul\0", "\ud800", "x" * 20_001])
def test_a_description_that_no_store_can_hold_is_omitted_and_reported_once(description):
    fleet = check_rows([METER | {"description": description}], [REGISTER], [])
    assert [meter.description for meter in fleet.meters] == [None], "and the meter is polled all the same"
    (issue,) = fleet.issues
    assert issue.column == "description"
    assert str(issue).isprintable()
    assert issue.meter_id is None


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-2, 10),
    st.floats(),
    st.decimals(),
    st.text(max_size=8),
    st.sampled_from(["1e9999", "-0", "502", "sdm630", "\x00", "\ud800", "٣"]),
    st.binary(max_size=3),
    st.lists(st.integers(), max_size=2),
)


def garbage(columns: dict) -> st.SearchStrategy[list[dict]]:
    """Generate rows in which some columns are absent and others contain any value."""
    return st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(columns, ANYTHING)), max_size=4)


def of_other_ids(rows: list[dict]) -> list[dict]:
    """Return the rows without the id of the valid meter, which would be excluded rightly by another row."""
    return [row for row in rows if check_rows([METER | {"id": row.get("id")}], [REGISTER], []).meters != (GOOD_METER,)]


@given(garbage(METER).map(of_other_ids), garbage(REGISTER), garbage({"max_gap": 0, "timeout_s": 0}), st.randoms())
def test_invalid_rows_never_raise_an_exception_and_never_affect_a_valid_row(
    meter_rows, register_rows, type_rows, random
):
    meters = [METER, *meter_rows]
    registers = [REGISTER, *(row | {"type": "other"} for row in register_rows)]
    types = [row | {"type": number} for number, row in enumerate(type_rows)]
    fleet = check_rows(meters, registers, types)
    assert GOOD_METER in fleet.meters
    assert fleet.types["sdm630"].registers == (GOOD_REGISTER,)
    for rows in (meters, registers, types):
        random.shuffle(rows)
    assert check_rows(meters, registers, types) == fleet


@given(garbage(METER), garbage(REGISTER), garbage({"type": 0, "max_registers_per_request": 0}))
def test_every_register_is_either_taken_or_reported_in_one_line(meter_rows, register_rows, type_rows):
    fleet = check_rows(meter_rows, register_rows, type_rows)
    taken = sum(len(meter_type.registers) for meter_type in fleet.types.values())
    reported = [issue for issue in fleet.issues if issue.table == "registers"]
    assert taken + len(reported) >= len(register_rows)
    assert all("\n" not in str(issue) and len(str(issue)) < 600 for issue in fleet.issues)
    assert all(meter.type in fleet.types for meter in fleet.meters)
