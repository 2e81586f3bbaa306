"""`emm types …` and `emm registers …`: install and import registers without losing a person's rows."""

import json
import os
import pty
from contextlib import suppress

import pytest

from emm_pipeline.catalog import load_catalogue
from emm_pipeline.config_db.loader import load_fleet

COLUMNS = (
    "type, register_address, measurement_name, data_unit, data_type, function_code, word_order, byte_order, scale, "
    "invalid_value, scale_register, model"
)
HEADER = "type,register_address,measurement_name,data_unit,data_type,function_code,word_order,byte_order"


def execute(config_engine, statement):
    with config_engine.begin() as connection:
        connection.exec_driver_sql(statement)


def registers(config_engine):
    with config_engine.connect() as connection:
        return sorted(map(tuple, connection.exec_driver_sql(f"SELECT {COLUMNS} FROM registers")), key=str)


def test_an_installed_type_has_all_registers_and_settings_of_the_catalogue(emm, config_engine):
    result = emm("types", "install", "sdm630")
    assert result.returncode == 0, result.stderr
    assert "voltageL1" in result.stdout, "what changes is shown"
    emm("meters", "add", "--no-test", "10.0.0.1", "--unit", 1, "--type", "sdm630")
    fleet = load_fleet(config_engine)
    assert fleet.types["sdm630"] == load_catalogue()["sdm630"].meter_type
    assert fleet.issues == ()


def test_installing_again_changes_nothing_and_a_dry_run_never_does(emm, config_engine):
    assert emm("types", "install", "sdm630", "--dry-run").returncode == 0
    assert registers(config_engine) == []
    emm("types", "install", "sdm630")
    before = registers(config_engine)
    (again,) = json.loads(emm("types", "install", "sdm630", "--json").stdout)
    assert (again["added"], again["changed"], again["removed"]) == (0, 0, 0)
    assert registers(config_engine) == before


@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE registers SET scale = 0.1 WHERE measurement_name = 'voltageL1'",
        "DELETE FROM registers WHERE measurement_name = 'voltageL1'",
        "INSERT INTO registers VALUES ('sdm630', 400, 'mine', NULL, 3, 4, 2, 2)",
        "UPDATE meter_types SET timeout_s = 9",
    ],
)
def test_what_a_person_edited_is_overwritten_only_with_force(emm, config_engine, edit):
    emm("types", "install", "sdm630")
    execute(config_engine, edit)
    before = registers(config_engine)
    refused = emm("types", "install", "sdm630")
    assert refused.returncode == 2
    assert "--force" in refused.stderr
    assert registers(config_engine) == before
    assert emm("types", "install", "sdm630", "--force", "--yes").returncode == 0
    assert load_fleet(config_engine, all_types=True).types["sdm630"] == load_catalogue()["sdm630"].meter_type


class Terminal:
    """A command with its own terminal, on which it can ask."""

    def __init__(self, emm, *arguments):
        self._keyboard, terminal = pty.openpty()
        self._process = emm.start(*arguments, stdin=terminal, stdout=terminal, stderr=terminal)
        os.close(terminal)

    def read_until(self, text):
        printed = ""
        while text not in printed:
            printed += os.read(self._keyboard, 10_000).decode()
        return printed

    def type(self, text):
        os.write(self._keyboard, text.encode())

    def end(self):
        """Return the exit code, and the rest of the output."""
        rest = ""
        with suppress(OSError):  # no process has the terminal open
            while chunk := os.read(self._keyboard, 10_000):
                rest += chunk.decode()
        os.close(self._keyboard)
        return self._process.wait(60), rest


@pytest.fixture
def question(emm, config_engine):
    """`emm types install --force` waiting for an answer, because a person's change would be lost."""
    emm("types", "install", "sdm630")
    execute(config_engine, "UPDATE registers SET scale = 0.1 WHERE measurement_name = 'voltageL1'")
    terminal = Terminal(emm, "types", "install", "sdm630", "--force")
    terminal.read_until("Write sdm630 into the database? [y/N]: ")
    return terminal


def test_a_question_that_waits_for_its_answer_does_not_lock_the_registers(question, config_engine):
    execute(config_engine, "SET LOCAL lock_timeout = '1s'; INSERT INTO registers VALUES ('t', 0, 'a', 'V', 1, 3, 2, 2)")
    question.type("y\n")
    code, rest = question.end()
    assert code == 0, rest
    types = load_fleet(config_engine, all_types=True).types
    assert types["sdm630"] == load_catalogue()["sdm630"].meter_type
    assert "t" in types


def test_changes_by_others_while_a_question_waits_are_not_overwritten(question, config_engine):
    execute(config_engine, "UPDATE registers SET scale = 0.2 WHERE measurement_name = 'voltageL2'")
    before = registers(config_engine)
    question.type("y\n")
    code, rest = question.end()
    assert code == 2
    assert "these types were changed by someone else in the meantime" in " ".join(rest.split())
    assert registers(config_engine) == before


def test_rows_from_before_any_installation_count_as_edited_by_a_person(emm, config_engine):
    execute(config_engine, "INSERT INTO registers VALUES ('sdm630', 0, 'spannung', 'V', 3, 4, 2, 2)")
    assert emm("types", "install", "sdm630").returncode == 2
    assert [row[2] for row in registers(config_engine)] == ["spannung"]


def test_rows_of_an_older_catalogue_are_replaced_without_a_question(emm, config_engine):
    """Rows that an installation wrote, and that were not edited since, follow the catalogue."""
    emm("types", "install", "sdm630")
    for table, column in (("registers", "measurement_name"), ("installed_types", "content")):
        execute(config_engine, f"UPDATE {table} SET {column} = replace({column}, 'voltageL1L2', 'old')")
    assert emm("types", "install", "sdm630").returncode == 0
    assert load_fleet(config_engine, all_types=True).types["sdm630"] == load_catalogue()["sdm630"].meter_type


def test_one_unknown_type_among_several_installs_none(emm, config_engine):
    result = emm("types", "install", "sdm630", "nope")
    assert result.returncode == 2
    assert "'nope'" in result.stderr
    assert registers(config_engine) == []


def test_types_are_listed_with_their_state_and_number_of_meters(emm, config_engine):
    emm("types", "install", "sdm630")
    emm("meters", "add", "--no-test", "10.0.0.1", "--unit", 1, "--type", "sdm630")
    execute(config_engine, "INSERT INTO registers VALUES ('mine', 0, 'a', NULL, 3, 4, 2, 2)")
    entries = {entry["type"]: entry for entry in json.loads(emm("types", "list", "--json").stdout)}
    assert set(load_catalogue()) <= set(entries)
    assert (entries["sdm630"]["database"], entries["sdm630"]["meters"]) == ("as in the catalogue", 1)
    assert entries["mine"]["database"] == "own"
    execute(config_engine, "UPDATE registers SET scale = 2 WHERE measurement_name = 'voltageL1'")
    entries = {entry["type"]: entry for entry in json.loads(emm("types", "list", "--json").stdout)}
    assert entries["sdm630"]["database"] == "edited"


def test_a_type_is_shown_with_its_sources_and_requests(emm):
    shown = json.loads(emm("types", "show", "sdm630", "--json").stdout)
    assert len(shown["sources"]) >= 2
    assert shown["from"] == "catalogue"
    assert all(request["count"] <= 80 for request in shown["requests"])
    assert "voltageL1" in emm("types", "show", "sdm630").stdout
    assert emm("types", "show", "nope").returncode == 2


def test_a_file_is_imported_and_exported_again_the_same(emm, config_engine, tmp_path):
    file = tmp_path / "mine.csv"
    file.write_bytes(
        b"\xef\xbb\xbf# a comment\r\n" + HEADER.encode() + b",scale,invalid_value\r\n"
        b"mine,0,voltage,V,4,3,2,2,0.1,65535\r\n"
        b'mine,1,"power, active",,1,3,2,2,,\r\n'
    )
    result = emm("registers", "import", file, "--json")
    assert json.loads(result.stdout) == {
        "types": ["mine"], "added": 2, "changed": 0, "removed": 0, "unchanged": 0, "written": True
    }  # fmt: skip
    exported = emm("registers", "export", "mine").stdout
    execute(config_engine, "DELETE FROM registers")
    again = emm("registers", "import", "-", stdin=exported)
    assert again.returncode == 0, again.stderr
    assert emm("registers", "export").stdout == exported
    assert load_fleet(config_engine, all_types=True).types["mine"].registers[0].scale == 0.1


def test_the_same_series_is_replaced_others_stay_and_go_with_replace_only(emm, config_engine):
    emm("registers", "import", "-", stdin=f"{HEADER}\nmine,0,a,V,3,4,2,2\nmine,2,b,V,3,4,2,2\n")
    moved = f"{HEADER}\nmine,10,a,V,3,4,2,2\n"
    assert "1 changed" in emm("registers", "import", "-", stdin=moved).stdout
    assert [row[1:3] for row in registers(config_engine)] == [(10, "a"), (2, "b")]
    assert "1 removed" in emm("registers", "import", "-", "--replace", stdin=moved).stdout
    assert [row[1:3] for row in registers(config_engine)] == [(10, "a")]


def test_semicolons_and_another_order_of_columns_are_read(emm, config_engine):
    names = HEADER.split(",")
    values = dict(zip(names, ("mine", "0", "a", "V", "3", "4", "2", "2"), strict=True))
    turned = names[::-1]
    text = ";".join(turned) + "\n" + ";".join(values[name] for name in turned) + "\n"
    assert emm("registers", "import", "-", stdin=text).returncode == 0
    assert registers(config_engine)[0][:3] == ("mine", 0, "a")


@pytest.mark.parametrize(
    "row",
    [
        "t, 342, energy, kWh, 3, 4, 2, 2, 0.01",
        't, 342, "energy", "kWh", 3, 4, 2, 2, 0.01',
        "t,342,energy\u00a0,kWh\t,3,4,2,2,0.01",
        "t,0x156,energy,kWh,3,4,2,2,0.01",
        "t;342;energy;kWh;3;4;2;2;0,01",
        "t;342;energy;kWh;3;4;2;2;1,0e-2",
        "t\t342\tenergy\tkWh\t3\t4\t2\t2\t0.01",
    ],
)
def test_a_row_is_read_as_people_write_it(emm, config_engine, row):
    separator = next(each for each in ";\t," if each in row.replace("kWh\t,", ""))
    header = f"{HEADER},scale".replace(",", separator)
    result = emm("registers", "import", "-", stdin=f"{header}\n{row}\n")
    assert result.returncode == 0, result.stderr
    assert registers(config_engine) == [("t", 342, "energy", "kWh", 3, 4, 2, 2, 0.01, None, None, None)]


def test_a_row_with_surrounding_spaces_is_replaced_by_the_import_of_the_same_measurement(emm, config_engine):
    execute(config_engine, "INSERT INTO registers VALUES ('t ', 0, ' a', 'V ', 3, 4, 2, 2)")
    assert "1 changed" in emm("registers", "import", "-", stdin=f"{HEADER}\nt,2,a,V,3,4,2,2\n").stdout
    assert [row[:4] for row in registers(config_engine)] == [("t", 2, "a", "V")]


@pytest.mark.parametrize(
    ("content", "reasons"),
    [
        ("", ["has no header"]),
        ("a,b\n1,2\n", ["line 1: unknown columns 'a', 'b'", "line 1: the header lacks type"]),
        (f"{HEADER},type\n", ["type more than once"]),
        (f"{HEADER}\nmine,0,a,V,18,4,2,2\n\n# x\nmine,2,b,V,3,4,3,2\n", ["line 2: data_type", "line 5: word_order"]),
        (f"{HEADER}\nmine,0,a,V,3,4,2\n", ["line 2: has 7 cells, the header has 8"]),
        (f'{HEADER}\nmine,0,"a,V,3,4,2,2\n', ["line 2: "]),
        (f"{HEADER}\nmine,0,a,V,3,4,2,2\nmine,2,a,V,3,4,2,2\n", ["line 3: ", "already in line 2"]),
        (f"{HEADER}\nmine,65535,a,V,3,4,2,2\n", ["line 2: register_address"]),
        (f"{HEADER}\nmine,156h,a,V,3,4,2,2\n", ["line 2: register_address is '156h'", "numbers begin with 0x"]),
        (
            f"{HEADER}\nmine,300343,a,V,3,4,2,2\n",
            ["register_address is '300343'", "in a manual this is function_code 4 and register_address 342"],
        ),
        (f'{HEADER},scale\nmine,0,a,V,3,4,2,2,"0,01"\n', ["line 2: scale is '0,01'", "a decimal point is needed"]),
        (f"{HEADER}\nmine,0,a,V,3,4,2,2\nmine,2, a\u00a0,V,3,4,2,2\n", ["line 3: ", "already in line 2"]),
        (b"\xff\xfe" + HEADER.encode("utf-16-le"), ["line 1: is not UTF-8"]),
    ],
)
def test_errors_of_a_file_are_reported_by_line_and_nothing_is_written(emm, config_engine, content, reasons):
    result = emm("registers", "import", "-", stdin=content)
    assert result.returncode == 2
    for reason in reasons:
        assert reason in result.stderr
    assert "Traceback" not in result.stderr
    assert registers(config_engine) == []


def test_a_file_that_is_not_there_and_one_that_cannot_be_written_are_named(emm):
    assert "/nowhere.csv" in emm("registers", "import", "/nowhere.csv").stderr
    result = emm("registers", "export", "-o", "/nowhere/file.csv")
    assert result.returncode == 1
    assert "/nowhere/file.csv" in result.stderr


def test_of_two_rows_that_differ_in_their_scale_only_the_right_one_is_removed(emm, config_engine):
    execute(
        config_engine,
        "INSERT INTO registers VALUES ('t', 0, 'a', 'V', 3, 4, 2, 2, 1), ('t', 0, 'a', 'V', 3, 4, 2, 2, 7)",
    )
    result = emm("registers", "import", "-", stdin=f"{HEADER}\nt,0,a,V,3,4,2,2\n")
    assert result.returncode == 0, result.stderr
    assert [row[8] for row in registers(config_engine)] == [1.0]


def test_rows_with_invalid_numbers_are_listed_exported_and_replaced(emm, config_engine):
    """They are from a table without CHECK constraints, whose columns have type numeric."""
    for change in (
        "DROP CONSTRAINT registers_scale, DROP CONSTRAINT registers_invalid_value",
        "ALTER scale TYPE numeric",
    ):
        execute(config_engine, f"ALTER TABLE registers {change}")
    execute(config_engine, "INSERT INTO registers VALUES ('t', 0, 'a', 'V', 3, 4, 2, 2, 'NaN', 'NaN')")
    (mine,) = [each for each in json.loads(emm("types", "list", "--json").stdout) if each["type"] == "t"]
    assert mine["registers"] == 1
    exported = emm("registers", "export", "--json").stdout
    assert json.loads(exported, parse_constant=pytest.fail)[0]["scale"] == "nan"
    assert emm("registers", "import", "-", stdin=f"{HEADER}\nt,0,a,V,3,4,2,2\n").returncode == 0
    assert [(row[8], row[9]) for row in registers(config_engine)] == [(1, None)]


def test_rows_that_an_older_version_installed_do_not_count_as_edited_by_a_person(emm, config_engine):
    """It saved its rows without the newer columns."""
    emm("types", "install", "sdm630")
    with config_engine.connect() as connection:
        content = json.loads(connection.exec_driver_sql("SELECT content FROM installed_types").scalar())
    content["registers"] = [row[:10] for row in content["registers"]]
    content["registers"][0][2] = "earlierName"
    execute(
        config_engine,
        f"UPDATE registers SET measurement_name = 'earlierName' WHERE register_address = {content['registers'][0][1]}",
    )
    with config_engine.begin() as connection:
        connection.exec_driver_sql("UPDATE installed_types SET content = %(content)s", {"content": json.dumps(content)})
    result = emm("types", "install", "sdm630")
    assert result.returncode == 0, result.stderr
    assert load_fleet(config_engine, all_types=True).types["sdm630"] == load_catalogue()["sdm630"].meter_type


# emm types list and diff


def test_types_are_found_by_words_kind_and_maker(emm, config_engine):
    def listed(*arguments):
        return {entry["type"] for entry in json.loads(emm("types", "list", *arguments, "--json").stdout)}

    assert len(listed()) == len(load_catalogue()) >= 100
    assert listed("SUNGROW", "--kind", "hybrid") == {"sungrow_sh", "sungrow_ihm"}
    assert listed("--maker", "keba") == {"keba_p30"}
    assert listed("em525") == {"janitza_umg96rm"}, "another series with the same registers"
    assert listed("sungrow", "eastron") == set()
    assert "no type matches" in emm("types", "list", "no such device").stdout


def test_an_own_type_of_the_database_is_listed_with_the_others(emm, config_engine):
    execute(config_engine, "INSERT INTO registers VALUES ('mine', 0, 'voltageL1', 'V', 3, 4, 2, 2)")
    (entry,) = json.loads(emm("types", "list", "mine", "--json").stdout)
    assert (entry["database"], entry["kind"]) == ("own", None)
    assert json.loads(emm("types", "list", "mine", "--kind", "meter", "--json").stdout) == []


def test_diff_shows_which_series_an_installation_would_change_and_writes_nothing(emm, config_engine):
    emm("types", "install", "sdm630", "sdm120")
    same = emm("types", "diff")
    assert same.returncode == 0
    assert same.stdout.count("already in the database") == 2
    for change in (
        "UPDATE registers SET scale = -1 WHERE type = 'sdm630' AND measurement_name = 'activePower'",
        "UPDATE registers SET measurement_name = 'old' WHERE type = 'sdm630' AND measurement_name = 'voltageL1L2'",
        "UPDATE registers SET invalid_value = 0 WHERE type = 'sdm630' AND measurement_name = 'frequency'",
    ):
        execute(config_engine, change)
    before = registers(config_engine)
    result = emm("types", "diff", "sdm630")
    assert result.returncode == 1
    warnings = [line.strip() for line in result.stdout.splitlines() if "warning" in line]
    assert warnings == [
        "warning: the series old [V] ends",
        "warning: the series activePower [W] gets other values: scale -1 -> 1",
    ]
    (entry,) = json.loads(emm("types", "diff", "sdm630", "--json").stdout)
    assert len(entry["series_changes"]) == 2
    assert registers(config_engine) == before
