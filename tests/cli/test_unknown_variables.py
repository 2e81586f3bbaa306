"""Variables of other versions and misspelt ones are reported, with the setting that is meant (F20)."""

import pytest

from emm_pipeline.cli.unknown_variables import unknown_variables
from emm_pipeline.settings import ENV_FILES


@pytest.fixture
def reported(tmp_path, monkeypatch):
    """Return the messages about a file with these lines; `in_environment` sets them there instead."""
    for name in ("INFLUX_TOKEN", "INFLUX_HOST", "PGHOST"):
        monkeypatch.delenv(name, raising=False)

    def report(*lines: str, in_environment: bool = False) -> str:
        file = tmp_path / "my.env"
        file.write_text("" if in_environment else "\n".join(lines))
        for line in lines if in_environment else ():
            monkeypatch.setenv(*line.split("="))
        return "\n".join(unknown_variables([file], environment=in_environment))

    return report


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("POSTGRES_HOTS=db", "did you mean 'POSTGRES_HOST'"),
        ("MAX_CONNECTION=9", "did you mean 'MAX_CONNECTIONS'"),
        ("INFLUX_UPDATER_CRON_HOUR_TRIGER=*", "INFLUX_UPDATER_CRON_HOUR_TRIGGER'"),
        ("INFLUX_HOST=influx", "set INFLUXDB_URL (http://host:port) instead"),
        ("INFLUXDB_DB=emm", "set INFLUXDB_BUCKET (1.8: database/retention_policy) instead"),
        ("INFLUXDB_USER=emm", "set INFLUXDB_TOKEN (1.8: user:password) instead"),
    ],
)
@pytest.mark.parametrize("in_environment", [False, True])
def test_a_variable_that_is_not_read_is_named_with_the_setting_that_is_meant(reported, line, meant, in_environment):
    name = line.split("=")[0]
    where = "the environment" if in_environment else "my.env"
    (message,) = reported(line, in_environment=in_environment).splitlines()
    assert f"{where}: EMM has no setting {name}; " in message
    assert meant in message


def test_each_setting_and_variables_of_other_programs_are_not_reported(reported):
    shipped = ENV_FILES[0].read_text().splitlines()
    own = [
        "GF_SMTP_ENABLED=true",
        "COMPOSE_FILE=a.yml",
        "DOCKER_INFLUXDB_INIT_RETENTION=30d",
        "MY_INVERTER_URL=http://x",
    ]
    assert reported(*shipped, *own, "POSTGRES_IMAGE=postgres:17", "SERIAL_GROUP=20") == ""


def test_every_command_reports_a_misspelt_line_of_a_file_and_its_output_is_not_changed(emm, tmp_path):
    file = tmp_path / "my.env"
    file.write_text("POSTGRES_HOTS=db\n")
    done = emm("--env-file", str(file), "meters", "list", "--json")
    assert done.returncode == 0
    assert done.stdout == "[]\n"
    assert "did you mean 'POSTGRES_HOST'" in done.stderr


def test_the_check_of_the_stack_reports_a_misspelt_variable_of_its_environment(emm):
    assert "did you mean 'POSTGRES_HOST'" in emm("settings", "check", POSTGRES_HOTS="db").stdout
    assert "POSTGRES_HOTS" not in emm("meters", "list", POSTGRES_HOTS="db").stderr


def test_mail_without_a_host_stops_no_command_and_is_reported(emm):
    assert emm("meters", "list", EMAIL_NOTIFICATIONS="True").returncode == 0
    status = emm("status", EMAIL_NOTIFICATIONS="True").stdout
    assert "LOGGER_SENDER_EMAIL_HOST" in status
    assert "LOGGER" not in emm("status").stdout


def test_a_type_that_differs_from_a_known_one_in_its_case_is_answered_with_the_known_one(emm, config_engine):
    with config_engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO registers VALUES ('sdm630', 0, 'voltageL1', 'V', 3, 4, 2, 2)")
        connection.exec_driver_sql("INSERT INTO energy_meters VALUES (1, '127.0.0.1', 502, 1, 'SDM630', 'x')")
    assert "did you mean 'sdm630'?" in " ".join(emm("meters", "list").stdout.split())
