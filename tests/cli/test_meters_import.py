"""`emm meters import` and `export`: lists of meters as CSV and YAML files, with an error for each wrong line."""

import json

import pytest

CSV = """host,unit,type,description
10.0.0.5,1,sdm630,main distribution
10.0.0.5:1502,2,sdm120,heat pump
/dev/ttyUSB0,3,sdm120,
"""
YAML = """# our meters
- host: 10.0.0.5
  unit: 1
  type: sdm630
  description: main distribution
- {host: "10.0.0.5:1502", unit: 2, type: sdm120, description: heat pump}
- host: /dev/ttyUSB0
  unit: 3
  type: sdm120
  description:
"""


def meters_of(emm):
    columns = ("id", "host", "port", "slave_address", "type", "description")
    return [tuple(each[name] for name in columns) for each in json.loads(emm("meters", "list", "--json").stdout)]


WRITTEN = [
    (1, "10.0.0.5", 502, 1, "sdm630", "main distribution"),
    (2, "10.0.0.5", 1502, 2, "sdm120", "heat pump"),
    (3, "/dev/ttyUSB0", 1, 3, "sdm120", None),
]


def imported(emm, text, *options, name="meters.csv"):
    kind = ("--format", "yaml") if name.endswith("yaml") else ()
    return emm("meters", "import", "-", *kind, *options, stdin=text)


@pytest.mark.parametrize(("text", "name"), [(CSV, "meters.csv"), (YAML, "meters.yaml")])
def test_a_list_of_meters_is_imported_with_the_types_that_it_needs(emm, text, name):
    result = imported(emm, text, "--yes", name=name)
    assert result.returncode == 0, result.stderr
    assert "3 added, 0 changed, 0 unchanged, 0 skipped; written" in result.stdout
    assert meters_of(emm) == WRITTEN
    again = imported(emm, text, name=name)
    assert "0 added, 0 changed, 3 unchanged, 0 skipped; nothing was written" in again.stdout


SPREADSHEETS = {
    "semicolons": CSV.replace(",", ";"),
    "tabs": CSV.replace(",", "\t"),
    "byte order mark": "\ufeff" + CSV,
    "line ends of Windows": CSV.replace("\n", "\r\n"),
    "quoted remarks": '"# unit 9: enter its type; possible: a, b";;;\n' + CSV.replace(",", ";"),
    "separator for Excel": "sep=;\n" + CSV.replace(",", ";"),
    "empty rows": CSV.replace(",", ";") + ";;;\n;;;\n",
    "empty columns": "\n".join(f"{line};;" for line in CSV.replace(",", ";").splitlines()),
    "other name of the column": CSV.replace("unit,", "Unit_ID,"),
}


@pytest.mark.parametrize("text", SPREADSHEETS.values(), ids=SPREADSHEETS)
def test_a_list_that_a_spreadsheet_has_saved_is_imported(emm, text):
    result = imported(emm, text, "--yes")
    assert result.returncode == 0, result.stderr
    assert meters_of(emm) == WRITTEN


def test_types_are_installed_only_after_asking(emm):
    result = imported(emm, CSV)
    assert result.returncode == 2
    assert "add --yes" in result.stderr
    assert meters_of(emm) == []


def test_each_wrong_line_is_named_and_nothing_is_written(emm):
    text = (
        "host;unit;type;port;factor;enabled;id\n"
        "10.0.0.5;1;sdm63;;;;\n"  # 2: no such type
        "10.0.0.5;256;sdm630;;;;\n"  # 3: no unit id
        "10.0.0.5;1;sdm630;70000;;;\n"  # 4: no port
        "10.0.0.5:502;1;sdm630;503;;;\n"  # 5: two ports
        ";1;sdm630;;;;\n"  # 6: no host
        "10.0.0.5;2;sdm630;;0;;\n"  # 7: a factor of 0
        "10.0.0.5;3;sdm630;;;perhaps;\n"  # 8: neither true nor false
        "10.0.0.5;4;sdm630;;0,5;ja;\n"  # 9
        "10.0.0.5;5;sdm630;;;;x\n"  # 10: no id
        "10.0.0.5;6;;;;;\n"  # 11: no type
        "10.0.0.5;7;sdm630;;0,5;;\n"  # right, with a decimal comma
        "10.0.0.5;7;sdm630;;;;\n"  # 13: the same unit
    )
    result = imported(emm, text, "--yes")
    assert result.returncode == 2
    lines = [line.strip() for line in result.stderr.splitlines()[1:]]
    assert [line.partition(":")[0] for line in lines] == [f"line {n}" for n in (*range(2, 12), 13)]
    assert "did you mean 'sdm630'" in lines[0]
    assert lines[1] == "line 3: unit is '256'; allowed: 0 to 255"
    assert "is already in line 12" in lines[-1]
    assert meters_of(emm) == []
    right = imported(emm, text, "--yes", "--skip-errors")
    assert right.returncode == 0, right.stderr
    assert "1 added, 0 changed, 0 unchanged, 11 skipped; written" in right.stdout
    assert [meter[3] for meter in meters_of(emm)] == [7]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- host: a\n  unit: 1\n- host: b\n  unit: 1\n  typ: sdm630\n", ["line 1", "line 3", "line 5: unknown key"]),
        ("- host: a\n   unit: 1\n", ["line 2: is not YAML"]),
        ("host: a\nunit: 1\n", ["is not a list of meters"]),
        ("- [1, 2]\n", ["line 1: is not a meter"]),
        ("- host: a\n  unit: [1]\n  type: x\n", ["line 2: unit is not a single value"]),
        ("- host: a\n  host: b\n  unit: 1\n  type: x\n", ["line 2: host appears a second time"]),
        ("", ["is not a list of meters"]),
    ],
)
def test_each_wrong_line_of_a_yaml_file_is_named(emm, text, said):
    result = imported(emm, text, name="meters.yaml")
    assert result.returncode == 2
    for each in said:
        assert each in result.stderr


def test_values_in_yaml_are_taken_as_they_are_written(emm):
    """YAML would read `no` as false, 010 as 8, and 1:30 as 90."""
    text = """meters:
- {host: gateway, unit: 010, type: sdm630, description: no}
- {host: h, unit: 2, type: sdm630, description: 1:30}
"""
    assert imported(emm, text, "--yes", name="meters.yaml").returncode == 0
    assert [(meter[3], meter[5]) for meter in meters_of(emm)] == [(10, "no"), (2, "1:30")]


def test_a_meter_that_is_there_with_other_values_changes_only_if_wanted(emm):
    imported(emm, CSV, "--yes")
    renamed = CSV.replace("heat pump", "boiler")
    refused = imported(emm, renamed)
    assert refused.returncode == 2
    assert "is already meter 2" in refused.stderr
    assert "description 'heat pump' → 'boiler'" in refused.stderr
    assert "--update" in refused.stderr
    changed = imported(emm, renamed, "--update", "--yes")
    assert "0 added, 1 changed, 2 unchanged, 0 skipped; written" in changed.stdout
    assert meters_of(emm)[1] == (2, "10.0.0.5", 1502, 2, "sdm120", "boiler")


def test_a_dry_run_writes_nothing(emm):
    result = imported(emm, CSV, "--dry-run")
    assert result.returncode == 0
    assert "+ type sdm120: Eastron SDM120 Modbus" in result.stdout
    assert "+ meter 2 (heat pump) at 10.0.0.5:1502 unit 2, type sdm120" in result.stdout
    assert "nothing was written (--dry-run)" in result.stdout
    assert meters_of(emm) == []


@pytest.mark.parametrize("kind", ["csv", "yaml"])
def test_an_exported_list_can_be_imported_into_another_database(emm, tmp_path, kind):
    imported(emm, CSV, "--yes")
    emm("meters", "disable", 2)
    emm("meters", "edit", 1, "--factor", "-40", "--may-be-off")
    file = tmp_path / f"meters.{kind}"
    assert emm("meters", "export", "-o", file).returncode == 0
    before = emm("meters", "list", "--json").stdout
    emm("meters", "remove", 1, 2, 3, "--yes")
    refused = emm("meters", "import", file)
    assert "is the id of a former meter" in refused.stderr
    file.write_text("\n".join(line for line in file.read_text().splitlines() if not line.strip().startswith("id:")))
    if kind == "csv":
        rows = [line.split(",") for line in file.read_text().splitlines() if line]
        file.write_text("\n".join(",".join(cells[:5] + cells[6:]) for cells in rows))
    assert emm("meters", "import", file).returncode == 0
    columns = ("host", "port", "slave_address", "type", "description", "factor")
    after = json.loads(emm("meters", "list", "--json").stdout)
    for old, new in zip(json.loads(before), after, strict=True):
        assert {name: old.get(name) for name in columns} == {name: new.get(name) for name in columns}


@pytest.mark.parametrize("kind", ["csv", "yaml"])
def test_tariff_and_highest_power_are_exported_and_imported(emm, tmp_path, kind):
    imported(emm, CSV, "--yes")
    emm("tariffs", "set", "house", "--from", "2026-01-01", "--price", "0.30")
    assert emm("meters", "edit", 1, "--tariff", "house", "--max-power", "25000").returncode == 0
    file = tmp_path / f"meters.{kind}"
    emm("meters", "export", "-o", file)
    emm("meters", "edit", 1, "--tariff", "", "--max-power", "9")
    result = emm("meters", "import", file, "--update", "--yes")
    assert "0 added, 1 changed, 2 unchanged" in result.stdout, result.stderr
    first, second, _ = json.loads(emm("meters", "export", "--json").stdout)
    assert (first["tariff"], first["max_power_w"]) == ("house", 25000)
    assert "tariff" not in second
    file.write_text(file.read_text().replace("house", "hose").replace("25000", "-1"))
    refused = emm("meters", "import", file, "--update", "--yes")
    assert "max_power_w is '-1.0'; allowed: above 0" in refused.stderr
    file.write_text(file.read_text().replace("-1", "1"))
    refused = emm("meters", "import", file, "--update", "--yes")
    assert "there is no tariff 'hose'; emm tariffs list shows them; did you mean 'house'?" in refused.stderr


def test_a_file_from_a_spreadsheet_with_other_names_and_a_byte_order_mark_is_read(emm):
    text = b"\xef\xbb\xbfhost;slave_address;type\r\n10.0.0.5;1;sdm630\r\n"
    result = imported(emm, text, "--yes")
    assert result.returncode == 0, result.stderr
    assert meters_of(emm)[0][3] == 1
