"""Wrong names of commands and types are answered with the name that a person may have meant."""

import pytest

from emm_pipeline.suggesting import suggestion


@pytest.mark.parametrize(
    ("command", "suggested"),
    [
        ("demoo", "'demo'"),
        ("meter list", "'meters'"),
        ("meters chexk", "'check'"),
        ("types instasll sdm630", "'install'"),
        ("scan --unit 1 127.0.0.1", "'--units'"),
    ],
)
def test_a_wrong_command_or_option_suggests_a_right_one(emm_alone, command, suggested):
    done = emm_alone(*command.split())
    assert done.returncode == 2
    assert "Did you mean" in done.stderr
    assert suggested in done.stderr


@pytest.mark.parametrize(
    "command",
    ["types install {}", "meters add 127.0.0.1 --unit 1 --type {}", "meters check --host 127.0.0.1 --type {}"],
)
@pytest.mark.parametrize(("given", "suggested"), [("sdm63", "'sdm630'"), ("SDM-630", "'sdm630'")])
def test_a_wrong_type_suggests_a_right_one(emm, command, given, suggested):
    done = emm(*command.format(given).split())
    assert done.returncode == 2
    assert suggested in done.stderr.partition("did you mean")[2]


def test_a_setting_that_is_a_typo_or_of_the_original_project_is_named_with_the_right_one(emm, tmp_path):
    file = tmp_path / "own.env"
    file.write_text("POSTGRES_HOTS=db\nINFLUXDB_DB=emm\nMY_DEVICE_KEY=secret\nVIRTUAL_SERVER_LOG=x\n")
    done = emm("settings", "check", "--env-file", file)
    assert done.returncode == 0, done.stderr
    assert f"{file}: EMM has no setting POSTGRES_HOTS; did you mean 'POSTGRES_HOST'" in done.stdout
    assert f"{file}: EMM has no setting INFLUXDB_DB; set INFLUXDB_BUCKET" in done.stdout
    assert "MY_DEVICE_KEY" not in done.stdout
    assert "VIRTUAL_SERVER_LOG" not in done.stdout


def test_a_wrong_description_of_a_meter_suggests_a_right_one(emm, config_engine):
    with config_engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO energy_meters VALUES (1, 'h', 502, 1, 't', 'main distribution')")
    assert "did you mean 'main distribution'?" in emm("meters", "disable", "main distributon").stderr


def test_names_that_resemble_none_get_no_suggestion():
    assert suggestion("zzz", ["sdm630", "em24"]) == ""
    assert suggestion("sdm63", ["sdm630", "sdm630"]) == "; did you mean 'sdm630'?"
