"""`emm meters …`: list, add, edit, enable, disable and remove meters."""

import json
from datetime import UTC, datetime

import pytest
from support.ports import free_port

from emm_pipeline.config_db.device_state.meter_status import forget, save_configurations
from emm_pipeline.config_db.loader import load_fleet

COLUMNS = "id, host, port, slave_address, type, description, enabled"
HOSTILE = ["x'; DROP TABLE energy_meters; --", "ß" * 10_000, "a,b=c d", "Zähler 電", '"; rm -rf /']


@pytest.fixture
def sdm630(config_engine):
    with config_engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO registers VALUES ('sdm630', 0, 'voltageL1', 'V', 3, 4, 2, 2)")


def rows(config_engine):
    with config_engine.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(f"SELECT {COLUMNS} FROM energy_meters ORDER BY id")]


def execute(config_engine, statement):
    with config_engine.begin() as connection:
        connection.exec_driver_sql(statement)


def listed(emm):
    return {meter["id"]: meter for meter in json.loads(emm("meters", "list", "--json").stdout)}


def test_a_meter_is_added_with_the_next_free_id_and_can_be_polled(emm, sdm630, config_engine):
    assert emm("meters", "add", "--no-test", "10.0.0.1:8502", "--unit", 1, "--type", "sdm630").returncode == 0
    second = emm(
        "meters", "add", "--no-test", "meter.local", "--unit", 2, "--type", "sdm630", "--description", "barn", "--json"
    )
    assert json.loads(second.stdout)["id"] == 2
    assert rows(config_engine) == [
        (1, "10.0.0.1", 8502, 1, "sdm630", None, True),
        (2, "meter.local", 502, 2, "sdm630", "barn", True),
    ]
    assert [meter.id for meter in load_fleet(config_engine).meters] == [1, 2]


def test_a_unit_is_not_added_twice_without_force(emm, sdm630, config_engine):
    add = ("meters", "add", "--no-test", "10.0.0.1", "--unit", 1, "--type", "sdm630")
    emm(*add)
    again = emm(*add)
    assert again.returncode == 2
    assert "unit 1 at 10.0.0.1:502 is already meter 1" in again.stderr
    assert emm(*add, "--force").returncode == 0
    assert len(rows(config_engine)) == 2


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["10.0.0.1", "--unit", 256, "--type", "sdm630"], "'--unit': 256 is not in the range 0<=x<=255"),
        (["10.0.0.1:0", "--unit", 1, "--type", "sdm630"], "port"),
        (["10.0.0.1:99999", "--unit", 1, "--type", "sdm630"], "port"),
        (["10.0.0.1", "--unit", "x", "--type", "sdm630"], "--unit"),
        (["127.0.0.1; DROP", "--unit", 1, "--type", "sdm630"], "host"),
        (["", "--unit", 1, "--type", "sdm630"], "host"),
        (["10.0.0.1", "--unit", 1, "--type", "nope"], "no type 'nope'"),
        (["10.0.0.1", "--unit", 1, "--type", "sdm630", "--description", "two\nlines"], "line break"),
        (["10.0.0.1", "--unit", 1, "--type", "sdm630", "--id", 99999999999], "id"),
        (["10.0.0.1", "--type", "sdm630"], "--unit"),
    ],
)
def test_an_invalid_meter_is_refused_with_the_reason_and_nothing_is_written(
    emm, sdm630, config_engine, arguments, reason
):
    result = emm("meters", "add", "--no-test", *arguments)
    assert result.returncode == 2
    assert reason in result.stderr
    assert "Traceback" not in result.stderr
    assert rows(config_engine) == []


def test_for_a_type_that_only_the_catalogue_has_the_command_to_install_it_is_shown(emm, config_engine):
    result = emm("meters", "add", "--no-test", "10.0.0.1", "--unit", 1, "--type", "sdm630")
    assert result.returncode == 2
    assert "emm types install sdm630" in result.stderr


@pytest.mark.parametrize("text", HOSTILE)
def test_a_description_is_kept_as_given_whatever_it_looks_like(emm, sdm630, config_engine, text):
    result = emm("meters", "add", "--no-test", "10.0.0.1", "--unit", 1, "--type", "sdm630", "--description", text)
    kept = [row[5] for row in rows(config_engine)]
    assert kept == ([text] if result.returncode == 0 else [])
    if result.returncode:
        assert "allowed: 20000" in result.stderr, "too long for InfluxDB"


def test_a_meter_is_changed_by_its_description_and_both_values_are_shown(emm, sdm630, config_engine):
    emm("meters", "add", "--no-test", "10.0.0.1", "--unit", 1, "--type", "sdm630", "--description", "barn")
    result = emm("meters", "edit", "barn", "--host", "10.0.0.2", "--port", 503, "--unit", 7, "--no-description")
    assert result.returncode == 0, result.stderr
    assert "slave_address 1 → 7" in result.stdout
    assert rows(config_engine) == [(1, "10.0.0.2", 503, 7, "sdm630", None, True)]


@pytest.mark.parametrize(
    "arguments",
    [["1"], ["1", "--unit", 999], ["9", "--unit", 1], ["1", "--type", "nope"], ["1", "--description", "a\nb"]],
)
def test_a_change_that_is_invalid_changes_nothing(emm, sdm630, config_engine, arguments):
    emm("meters", "add", "--no-test", "10.0.0.1", "--unit", 1, "--type", "sdm630")
    before = rows(config_engine)
    result = emm("meters", "edit", *arguments)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert rows(config_engine) == before


def test_a_new_host_keeps_the_port_and_the_unit_of_another_meter_is_refused(emm, sdm630, config_engine):
    emm("meters", "add", "--no-test", "10.0.0.1:8502", "--unit", 1, "--type", "sdm630")
    emm("meters", "add", "--no-test", "10.0.0.1:8502", "--unit", 2, "--type", "sdm630")
    refused = emm("meters", "edit", 2, "--unit", 1)
    assert refused.returncode == 2
    assert "--force" in refused.stderr
    assert emm("meters", "edit", 2, "--host", "10.0.0.2").returncode == 0
    assert [row[1:4] for row in rows(config_engine)] == [("10.0.0.1", 8502, 1), ("10.0.0.2", 8502, 2)]


def test_a_description_that_two_meters_have_is_ambiguous(emm, sdm630, config_engine):
    for unit in (1, 2):
        emm("meters", "add", "--no-test", "10.0.0.1", "--unit", unit, "--type", "sdm630", "--description", "barn")
    result = emm("meters", "remove", "barn", "--yes")
    assert result.returncode == 2
    assert "meters 1, 2" in result.stderr
    assert len(rows(config_engine)) == 2


def test_a_meter_can_be_disabled_and_enabled_even_if_its_row_is_invalid(emm, sdm630, config_engine):
    with config_engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO energy_meters VALUES (1, '10.0.0.1', 502, 1, 'gone', NULL)")
    assert listed(emm)[1]["status"] == "misconfigured"
    assert emm("meters", "disable", 1).returncode == 0
    assert listed(emm)[1]["status"] == "disabled"
    assert emm("meters", "enable", 1).returncode == 0
    assert rows(config_engine)[0][6] is True


def test_meters_are_removed_only_after_confirmation(emm, sdm630, config_engine):
    emm("meters", "add", "--no-test", "10.0.0.1", "--unit", 1, "--type", "sdm630")
    refused = emm("meters", "remove", 1)
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    assert emm("meters", "remove", 1, "--yes").returncode == 0
    assert rows(config_engine) == []


ADD = ("meters", "add", "--no-test", "10.0.0.1", "--unit", 1, "--type", "sdm630")


def test_a_new_meter_never_gets_the_id_of_a_removed_one(emm, sdm630, config_engine):
    """Its readings are in the store under this id, and the new meter would continue them."""
    emm(*ADD)
    emm("meters", "remove", 1, "--yes")
    assert json.loads(emm(*ADD, "--json").stdout)["id"] == 2
    emm("meters", "remove", 2, "--yes")
    refused = emm(*ADD, "--id", 1)
    assert refused.returncode == 2
    assert "a former meter had the id 1, and its readings are in the store under this id" in refused.stderr
    assert emm(*ADD, "--id", 1, "--force").returncode == 0, "it may be the same device"
    assert [row[0] for row in rows(config_engine)] == [1]


def test_an_id_that_a_person_wrote_and_deleted_in_sql_is_not_given_again_once_a_discovery_saw_it(
    emm, sdm630, config_engine
):
    execute(config_engine, "INSERT INTO energy_meters VALUES (7, '10.0.0.7', 502, 1, 'sdm630', NULL)")
    save_configurations(config_engine, {7: "as discovered"})
    execute(config_engine, "DELETE FROM energy_meters")
    forget(config_engine, {7})
    assert json.loads(emm(*ADD, "--json").stdout)["id"] == 8


def test_an_id_that_a_person_polled_is_not_given_again(emm, sdm630, config_engine):
    execute(config_engine, f"INSERT INTO energy_meters VALUES (7, '127.0.0.1', {free_port()}, 1, 'sdm630', NULL)")
    emm("poll")
    execute(config_engine, "DELETE FROM energy_meters")
    assert json.loads(emm(*ADD, "--json").stdout)["id"] == 8


def test_surrounding_spaces_in_arguments_are_ignored(emm, sdm630, config_engine):
    emm("meters", "add", "--no-test", "10.0.0.1", "--unit", 1, "--type", "sdm630 ", "--description", " barn\u00a0")
    assert rows(config_engine)[0][1:6] == ("10.0.0.1", 502, 1, "sdm630", "barn")
    assert emm("meters", "edit", "barn", "--host", " 10.0.0.2").returncode == 0
    assert rows(config_engine)[0][1] == "10.0.0.2"


def test_a_row_with_surrounding_spaces_is_polled_and_found_by_its_name(emm, sdm630, config_engine):
    execute(config_engine, "INSERT INTO energy_meters VALUES (1, ' 10.0.0.1', 502, 1, 'sdm630 ', ' barn ')")
    (meter,) = load_fleet(config_engine).meters
    assert (meter.host, meter.type, meter.description) == ("10.0.0.1", "sdm630", "barn")
    assert emm("meters", "disable", "barn").returncode == 0


def test_names_in_a_list_cannot_control_or_flood_the_terminal(emm, sdm630, config_engine):
    execute(
        config_engine,
        "INSERT INTO energy_meters VALUES"
        " (1, repeat('h', 60000), 502, 1, 'sdm630', E'\x1b]0;title\x07\x1b[2J\u009b31m\u202emains'),"
        " (2, 'h', 502, 2, E'\x1b[31m', NULL)",
    )
    listed_ = emm("meters", "list")
    assert r"\x1b" in listed_.stdout
    assert r"\u202e" in listed_.stdout
    assert "(60004 characters)" in listed_.stdout
    assert len(listed_.stdout) < 5000
    as_json = emm("meters", "list", "--json")
    edited = emm("meters", "edit", 1, "--unit", 3, "--host", "h")
    removed = emm("meters", "remove", 1, 2, "--yes")
    for result in (listed_, as_json, edited, removed):
        assert result.returncode == 0, result.stderr
        assert not set("\x1b\x07\x9b") & set(result.stdout + result.stderr)
    assert "\u202e" not in listed_.stdout + edited.stdout + removed.stdout


def test_the_list_shows_each_meters_status_since_when_it_fails_and_its_next_attempt(emm, sdm630, config_engine):
    for unit in (1, 2, 3):
        emm("meters", "add", "--no-test", "10.0.0.1", "--unit", unit, "--type", "sdm630")
    noon = datetime.now(UTC).replace(microsecond=0)
    with config_engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO meter_status (id, last_read_at, failed_samples, failed_samples_since, failed_sample_reason,"
            " next_attempt_at) VALUES (1, %(noon)s, 0, NULL, NULL, NULL), (2, NULL, 4, %(noon)s, 'no reply', %(noon)s)",
            {"noon": noon},
        )
    meters = listed(emm)
    assert {id_: meter["status"] for id_, meter in meters.items()} == {1: "ok", 2: "failing", 3: "new"}
    assert (meters[2]["failures_in_a_row"], meters[2]["reason"]) == (4, "no reply")
    assert datetime.fromisoformat(meters[2]["next_attempt_at"]) == noon
    table = emm("meters", "list").stdout
    assert f"{noon:%Y-%m-%d %H:%M:%S}" in table
    assert f"meter 2 failing since {noon:%Y-%m-%d %H:%M:%S} UTC: no reply" in table


def test_without_meters_the_list_says_how_to_get_one(emm):
    assert "emm meters add" in emm("meters", "list").stdout
    assert json.loads(emm("meters", "list", "--json").stdout) == []


def test_a_hand_made_table_with_invalid_ids_can_be_edited(emm, sdm630, config_engine):
    with config_engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE energy_meters")
        connection.exec_driver_sql(
            "CREATE TABLE energy_meters"
            " (id numeric, host text, port integer, slave_address integer, type text, enabled boolean)"
        )
        connection.exec_driver_sql(
            "INSERT INTO energy_meters VALUES ('NaN', 'h', 502, 1, 'sdm630', true), (7, 'h', 502, 2, 'sdm630', true),"
            " (NULL, NULL, NULL, NULL, NULL, NULL)"
        )
    assert json.loads(emm("meters", "list", "--json").stdout)[0]["status"] == "new"
    assert emm("meters", "disable", 7).returncode == 0
    assert emm("meters", "edit", 7, "--unit", 3).returncode == 0
    assert emm("meters", "remove", 7, "--yes").returncode == 0
    assert len(json.loads(emm("meters", "list", "--json").stdout)) == 2


def test_the_next_free_id_is_found_even_if_ids_are_texts(emm, sdm630, config_engine):
    with config_engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE energy_meters DROP CONSTRAINT energy_meters_pkey, ALTER id TYPE text")
        connection.exec_driver_sql(
            "INSERT INTO energy_meters VALUES ('9', 'h', 502, 1, 'sdm630'), ('x', 'h', 502, 2, 'a')"
        )
    assert emm("meters", "add", "--no-test", "10.0.0.1", "--unit", 1, "--type", "sdm630").returncode == 0
    assert emm("meters", "add", "--no-test", "10.0.0.1", "--unit", 2, "--type", "sdm630", "--id", 9).returncode == 2
    assert sorted(row[0] for row in rows(config_engine)) == ["10", "9", "x"]


def test_a_description_that_is_not_text_is_refused(emm, sdm630, config_engine):
    result = emm("meters", "add", "--no-test", "10.0.0.1", "--unit", 1, "--type", "sdm630", "--description", b"\xff")
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert rows(config_engine) == []


def test_an_id_that_is_too_large_is_not_reported_as_taken(emm, sdm630, config_engine):
    result = emm("meters", "add", "--no-test", "10.0.0.1", "--unit", 1, "--type", "sdm630", "--id", 2**31)
    assert result.returncode == 2
    assert "taken" not in result.stderr
    assert "allowed: -2147483648 to 2147483647" in result.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_the_change_is_reported_whatever_the_locales_encoding(emm, sdm630, encoding):
    emm("meters", "add", "--no-test", "10.0.0.1", "--unit", 1, "--type", "sdm630", "--description", "Zähler 電")
    result = emm("meters", "edit", 1, "--unit", 7, PYTHONIOENCODING=encoding)
    assert (result.returncode, result.stderr) == (0, "")
    assert "(Zähler 電): slave_address 1 → 7" in result.stdout, "UTF-8, as what is exported and imported"
