"""Lists of meters as files: what is written is read again, and hostile contents are errors that name a line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emm_pipeline.config_db.editing.meter_files import COLUMNS, format_of, read_meter_file, write_meter_file

TEXT = (
    st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=20).map(str.strip).filter(bool)
)
ROW = st.fixed_dictionaries(
    {"host": st.from_regex(r"[a-z][a-z0-9.]{0,20}", fullmatch=True), "unit": st.integers(0, 255), "type": TEXT},
    optional={
        "port": st.integers(1, 65535),
        "description": TEXT,
        "id": st.integers(1, 99),
        "enabled": st.booleans(),
        "factor": st.floats(0.001, 1000),
        "may_be_off": st.just(True),
        "max_power_w": st.floats(0.001, 1e12),
        "tariff": TEXT,
    },
)


def as_text(value):
    return str(value).lower() if isinstance(value, bool) else str(value)


@given(st.lists(ROW, min_size=1, max_size=5), st.sampled_from(["csv", "yaml"]), st.lists(TEXT, max_size=2))
def test_what_is_written_is_read_again(rows, kind, remarks):
    file = read_meter_file(write_meter_file(rows, kind, remarks).encode(), kind)
    assert file.issues == []
    read = [{name: cell for name, cell in row.items() if cell is not None} for _, row in file.rows]
    written = [{name: as_text(value) for name, value in row.items()} for row in rows]
    assert read == written


@given(st.binary(max_size=200), st.sampled_from(["csv", "yaml"]))
def test_any_content_is_read_or_is_an_error(content, kind):
    file = read_meter_file(content, kind)
    assert file.rows or file.issues
    assert all(row.keys() <= set(COLUMNS) for _, row in file.rows)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[" * 5000, "is not YAML"),
        (b"- &a [*a]\n", "line 1: is not a meter"),
        (b"- {host: a, unit: 1, type: !!python/object/apply:os.system [x]}\n", "line 1: type is not a single value"),
        (b"\xff", "line 1: is not UTF-8"),
        (b"- host: a\n\tunit: 1\n", "line 2: is not YAML"),
        (b"a: 1\n---\nb: 2\n", "is not YAML"),
    ],
)
def test_hostile_yaml_is_an_error(content, said):
    file = read_meter_file(content, "yaml")
    assert not file.rows
    assert said in str(file.issues[0])


@pytest.mark.parametrize(
    ("name", "kind"), [("a.CSV", "csv"), ("b.yml", "yaml"), ("c.yaml", "yaml"), ("d.txt", None), ("<stdin>", None)]
)
def test_the_format_is_known_by_the_name(name, kind):
    assert format_of(name) == kind
