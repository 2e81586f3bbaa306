"""Export and import of registers as CSV, and plans of installations, for any rows that the database can hold."""

import string

from hypothesis import given
from hypothesis import strategies as st

from emm_pipeline.config_db.editing.installing import plan_installation
from emm_pipeline.config_db.editing.register_files import plan_import, read_register_file, write_register_file
from emm_pipeline.config_db.editing.register_rows import TypeRows, register_row, series_of
from emm_pipeline.fleet import REGISTER_FUNCTIONS, DataType, FunctionCode, Order, Register

NAMES = (
    st.text(st.sampled_from(string.ascii_letters + " ,;#\"'=äΩ電\r"), min_size=1, max_size=8)
    .map(str.strip)
    .filter(bool)
)
RAW_VALUES = st.integers(-(2**63), 2**64 - 1) | st.floats(-1e300, 1e300)
COLUMNS = st.builds(
    dict,
    register_address=st.integers(0, 65532),
    measurement_name=NAMES.filter(lambda name: not name.startswith("#")),
    data_unit=st.none() | NAMES,
    data_type=st.sampled_from([each for each in DataType if each not in {DataType.BOOL, DataType.STRING}]),
    function_code=st.sampled_from(REGISTER_FUNCTIONS),
    word_order=st.sampled_from(Order),
    byte_order=st.sampled_from(Order),
    scale=st.floats(1e-9, 1e9),
    scale_register=st.none() | st.integers(0, 65535),
    invalid_value=st.none() | RAW_VALUES,
    value_offset=st.floats(-1e9, 1e9),
    invalid_values=st.lists(RAW_VALUES, max_size=3).map(lambda values: tuple(sorted(set(values)))),
    absolute=st.booleans(),
    uses_factor=st.booleans(),
    stored=st.booleans(),
)
FURTHER = st.sampled_from(
    [
        {},
        {"data_type": DataType.INT, "mask": 0xFF00},
        {"sign_register": 5, "sign_mask": 0x8000},
        {"model": 203, "model_copy": 3, "function_code": FunctionCode.READ_HOLDING_REGISTERS},
        {"register_address": 10, "data_type": DataType.LONG, "high_register_address": 20},
        {"data_type": DataType.STRING, "length": 8, "register_address": 10},
        {
            "data_type": DataType.BOOL,
            "function_code": FunctionCode.READ_COILS,
            "scale_register": None,
            "sign_register": None,
        },
    ]
)
"""Columns that go together only."""
REGISTERS = st.builds(lambda columns, further: Register(**columns | further), COLUMNS, FURTHER)
ROWS = st.lists(st.builds(register_row, NAMES, REGISTERS), unique_by=series_of, max_size=6)
TYPE_ROWS = st.lists(st.builds(register_row, st.just("t"), REGISTERS), unique_by=series_of, max_size=6)


@given(ROWS)
def test_exported_registers_are_imported_unchanged(rows):
    file = read_register_file(write_register_file(rows).encode())
    assert file.issues == []
    assert {row for _, row in file.rows} == set(rows)


@given(st.binary() | st.text().map(str.encode))
def test_any_invalid_file_is_refused_without_an_exception(content):
    file = read_register_file(content)
    assert file.issues or file.rows or content.count(b"\n") <= 1 or b"type" in content


@given(TYPE_ROWS, TYPE_ROWS, st.booleans())
def test_an_import_writes_the_files_rows_and_keeps_or_removes_others_as_requested(before, coming, replace):
    plan = plan_import({"t": TypeRows(frozenset(before))}, coming, replace=replace)
    after = (set(before) - set(plan.remove)) | set(plan.add)
    assert set(coming) <= after
    series = {series_of(row) for row in coming}
    others = {row for row in before if series_of(row) not in series}
    assert after - set(coming) == (set() if replace and coming else others)
    assert plan.unchanged == len(set(coming) & set(before))


@given(TYPE_ROWS, st.none() | TYPE_ROWS, TYPE_ROWS)
def test_an_installation_gives_the_catalogues_rows_and_reports_every_lost_edit(database, installed, catalogue):
    there, now = TypeRows(frozenset(database)), TypeRows(frozenset(catalogue))
    plan = plan_installation(there, None if installed is None else TypeRows(frozenset(installed)), now)
    assert (there.registers - set(plan.remove)) | set(plan.add) == now.registers
    lost = set(plan.remove) - set(installed or ())
    assert lost <= set(plan.edited)
    assert plan.changes_nothing == (there == now)
    if there == now:
        assert not plan.overwrites_a_person
