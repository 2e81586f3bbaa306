"""Settings: what a wrong variable says, and which source comes first."""

import re
from typing import get_args

import pytest

from emm_pipeline.cli.showing.effective_settings import effective_settings
from emm_pipeline.credentials import write_file
from emm_pipeline.errors import ConfigurationError
from emm_pipeline.settings import ENV_FILES, PROJECT_ROOT, Settings, current_settings, load_settings

POSTGRES = {"POSTGRES_HOST": "db", "POSTGRES_USER": "emm", "POSTGRES_PASSWORD": "s3cret/@", "POSTGRES_DB": "emm"}


@pytest.fixture
def environment(monkeypatch):
    """An environment without a setting in it but the database's."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in POSTGRES.items():
        monkeypatch.setenv(name, value)
    return monkeypatch.setenv


def test_the_example_file_is_valid_and_names_every_setting(environment):
    lines = [line.removeprefix("# ") for line in ENV_FILES[0].read_text().splitlines()]
    names = {line.split("=")[0] for line in lines if "=" in line}
    assert {name.upper() for name in Settings.model_fields} - {"DAGSTER_HOME"} <= names, "that one is Dagster's own"
    assert load_settings().poll_trigger.cron == "*/1 * * * *"


@pytest.mark.parametrize("variable", ["INFLUX_UPDATER_CRON_SECOND_TRIGGER", "SCHEDULER_CRON_MINUTE_TRIGGER"])
@pytest.mark.parametrize("value", ["61", "x", "5-1"])
def test_a_trigger_that_cannot_be_parsed_stops_loading_and_is_named(environment, variable, value):
    environment(variable, value)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    text = str(caught.value)
    assert variable in text
    assert value in text
    assert "a-b/n" in text


def test_the_discovery_takes_one_second_only(environment):
    environment("SCHEDULER_CRON_SECOND_TRIGGER", "0,30")
    with pytest.raises(ConfigurationError, match=r"SCHEDULER_CRON_SECOND_TRIGGER='0,30'.*one number"):
        load_settings()


def test_seconds_are_a_sorted_set(environment):
    environment("INFLUX_UPDATER_CRON_SECOND_TRIGGER", "30,0,*/20")
    assert load_settings().poll_trigger.seconds == (0, 20, 30, 40)


def test_an_hour_is_checked_as_an_hour(environment):
    environment("INFLUX_UPDATER_CRON_HOUR_TRIGGER", "24")
    with pytest.raises(ConfigurationError, match=r"INFLUX_UPDATER_CRON_HOUR_TRIGGER='24'.*0 to 23"):
        load_settings()


@pytest.mark.parametrize(
    ("variable", "value"),
    [("READINGS_STORE", "mysql"), ("TZ", "Mars/Phobos"), ("METERS_PER_RUN", "0"), ("POSTGRES_PORT", "70000")],
)
def test_a_value_that_is_not_allowed_is_named_with_its_variable(environment, variable, value):
    environment(variable, value)
    with pytest.raises(ConfigurationError, match=rf"{variable}='{value}'"):
        load_settings()


def test_every_wrong_variable_is_named_at_once(environment):
    environment("TZ", "nowhere")
    environment("MAX_CONNECTIONS", "none")
    with pytest.raises(ConfigurationError, match=r"(?s)(TZ.*MAX_CONNECTIONS|MAX_CONNECTIONS.*TZ)"):
        load_settings()


def test_an_empty_variable_means_the_default(environment):
    environment("METERS_PER_RUN", "")
    assert load_settings().meters_per_run == 2500


def test_a_file_named_by_hand_comes_before_the_projects_and_after_the_environment(environment, tmp_path):
    file = tmp_path / "demo.env"
    file.write_text("METERS_PER_RUN=7\nMAX_CONNECTIONS=8\n")
    environment("MAX_CONNECTIONS", "9")
    settings = load_settings(file)
    assert (settings.meters_per_run, settings.max_connections) == (7, 9)


def test_an_empty_variable_overrides_no_file_and_a_name_may_be_in_small_letters(environment, tmp_path):
    file = tmp_path / "demo.env"
    file.write_text(f"METERS_PER_RUN=7\nmax_connections=8\nEMM_ACCESS_DIR={tmp_path}\n")
    environment("METERS_PER_RUN", "")
    environment("EMM_ACCESS_DIR", "")
    (tmp_path / "INFLUXDB_BUCKET").write_text("from a file")
    settings = load_settings(file)
    assert (settings.meters_per_run, settings.max_connections) == (7, 8)
    assert (settings.emm_access_dir, settings.influxdb_bucket) == (tmp_path, "from a file")


def test_a_password_with_special_characters_reaches_the_database_url_whole_and_stays_hidden(environment):
    settings = load_settings()
    assert settings.config_database_url.password == POSTGRES["POSTGRES_PASSWORD"]
    assert settings.dagster_database_url.database == "emm_dagster"
    assert POSTGRES["POSTGRES_PASSWORD"] not in repr(settings)


def test_a_folder_as_host_means_the_socket_in_it(environment):
    environment("POSTGRES_HOST", "/run/postgresql")
    url = load_settings().config_database_url
    assert url.host is None
    assert url.query["host"] == "/run/postgresql"


@pytest.mark.parametrize(("variable", "value"), [("INFLUXDB_URL", "influxdb:8086"), ("POSTGRES_HOST", " ")])
def test_an_address_that_cannot_be_one_is_refused_at_load(environment, variable, value):
    environment(variable, value)
    with pytest.raises(ConfigurationError, match=f"{variable}="):
        load_settings()


@pytest.fixture
def access(environment, tmp_path):
    """EMM_ACCESS_DIR, as the stack mounts it; returns a function that writes one of its files."""
    environment("EMM_ACCESS_DIR", str(tmp_path))
    current_settings.cache_clear()
    yield lambda name, text: write_file(tmp_path / name, text)
    current_settings.cache_clear()


def test_files_of_the_access_folder_come_before_the_environment(environment, access):
    access("POSTGRES_PASSWORD", "from the file\n")
    access("POSTGRES_PORT", "6543")
    access("HOME", "is no setting")
    settings = load_settings()
    assert settings.postgres_password.get_secret_value() == "from the file"
    assert settings.postgres_port == 6543


def test_a_changed_file_takes_effect_in_a_process_that_runs(access):
    access("POSTGRES_PASSWORD", "old")
    assert current_settings().postgres_password.get_secret_value() == "old"
    access("POSTGRES_PASSWORD", "new")
    assert current_settings().postgres_password.get_secret_value() == "new"
    access("INFLUXDB_TOKEN", "a file that was not there")
    assert current_settings().influxdb_token.get_secret_value() == "a file that was not there"


def test_a_changed_token_file_takes_effect_in_a_process_that_runs(environment, tmp_path):
    file = tmp_path / "token"
    file.write_text("old")
    environment("INFLUXDB_TOKEN_FILE", str(file))
    current_settings.cache_clear()
    assert current_settings().influxdb_token.get_secret_value() == "old"
    write_file(file, "new")
    assert current_settings().influxdb_token.get_secret_value() == "new"
    current_settings.cache_clear()


def test_an_invalid_change_is_reported_and_the_previous_value_stays_in_use(access, caplog):
    access("POSTGRES_PORT", "6543")
    assert current_settings().postgres_port == 6543
    access("POSTGRES_PORT", "no number")
    assert current_settings().postgres_port == 6543
    assert "POSTGRES_PORT='no number'" in caplog.text
    caplog.clear()
    assert current_settings().postgres_port == 6543
    assert not caplog.text, "it is reported once"
    access("POSTGRES_PORT", "6544")
    assert current_settings().postgres_port == 6544


def test_an_access_folder_that_is_absent_is_named(environment, tmp_path):
    environment("EMM_ACCESS_DIR", str(tmp_path / "none"))
    with pytest.raises(ConfigurationError, match="EMM_ACCESS_DIR"):
        load_settings()


def test_a_password_in_a_url_is_not_shown_with_the_settings(environment):
    environment("INFLUXDB_URL", "http://user:geheim@influxdb:8086")
    assert load_settings().influxdb_url == "http://user:geheim@influxdb:8086"
    (shown,) = [each["value"] for each in effective_settings() if each["variable"] == "INFLUXDB_URL"]
    assert shown == "http://***@influxdb:8086"


def test_a_password_in_a_url_is_not_shown_in_the_error(environment):
    environment("INFLUXDB_URL", "user:geheim@influxdb:8086")
    with pytest.raises(ConfigurationError, match=r"INFLUXDB_URL='\*\*\*@influxdb:8086': allowed: http"):
        load_settings()


def test_the_documents_name_only_the_run_launchers_that_the_setting_accepts():
    accepted = set(get_args(Settings.model_fields["run_launcher"].annotation))
    assert accepted == {"default", "celery"}
    text = (PROJECT_ROOT / "docs" / "scaling.md").read_text()
    assert set(re.findall(r"`RUN_LAUNCHER=(\w+)`", text)) <= accepted
    assert not re.search(r"kubernetes|helm|k8s", text, re.IGNORECASE)
