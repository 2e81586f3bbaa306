"""make secrets, and what keeps the stack from starting with credentials that everybody knows."""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from emm_pipeline.cli.main import emm
from emm_pipeline.cli.secrets import main
from emm_pipeline.credentials import EXAMPLES as PUBLISHED
from emm_pipeline.credentials import (
    assignments,
    example_names,
    hide_credentials,
    hide_url,
    is_loopback,
    write_file,
    write_secrets,
)
from emm_pipeline.settings import ENV_FILES, PROJECT_ROOT, load_settings

EXAMPLES = assignments(ENV_FILES[0].read_text().splitlines())
CREDENTIALS = {name for name in EXAMPLES if re.search("PASSWORD|TOKEN$", name) and EXAMPLES[name]}


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / ".env"


def values_of(file: Path) -> dict[str, str]:
    return assignments(file.read_text().splitlines())


def test_every_credential_of_the_example_file_is_known_as_an_example():
    assert set(example_names(EXAMPLES)) == CREDENTIALS
    assert {"POSTGRES_PASSWORD", "INFLUXDB_TOKEN", "GF_SECURITY_ADMIN_PASSWORD"} <= CREDENTIALS


def test_make_secrets_writes_a_random_value_for_each_into_a_file_that_only_its_owner_reads(file, capsys):
    assert main([str(ENV_FILES[0]), str(file)]) == 0
    made = values_of(file)
    assert set(made) == CREDENTIALS
    assert all(len(value) >= 40 and re.fullmatch(r"[\w-]+", value, re.ASCII) for value in made.values())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    out = capsys.readouterr().out
    assert "docker-compose up" in out
    assert not any(value in out for value in made.values())


def test_a_credential_in_two_variables_gets_one_value(file):
    write_secrets(ENV_FILES[0], file)
    made = values_of(file)
    assert made["INFLUXDB_TOKEN"] == made["DOCKER_INFLUXDB_INIT_ADMIN_TOKEN"]
    assert len(set(made.values())) == len(made) - 1


def test_credentials_that_are_there_are_not_overwritten_without_force(file, capsys):
    write_secrets(ENV_FILES[0], file)
    before = file.read_text()
    assert main([str(ENV_FILES[0]), str(file)]) == 2
    assert "FORCE=1" in capsys.readouterr().err
    assert file.read_text() == before
    assert main([str(ENV_FILES[0]), str(file), "--force"]) == 0
    assert not set(values_of(file).values()) & set(assignments(before.splitlines()).values())
    assert file.read_text().count("\n") == before.count("\n")


def test_a_file_of_an_older_version_gets_new_credentials_and_keeps_existing_ones(file, capsys):
    file.write_text("TZ=UTC\nPOSTGRES_PASSWORD=ours\nINFLUXDB_TOKEN=our-token\n")
    assert main([str(ENV_FILES[0]), str(file)]) == 0
    made = values_of(file)
    assert set(made) == CREDENTIALS | {"TZ"}
    assert (made["POSTGRES_PASSWORD"], made["INFLUXDB_TOKEN"]) == ("ours", "our-token")
    assert made["DOCKER_INFLUXDB_INIT_ADMIN_TOKEN"] == "our-token", "what is one credential stays one"
    assert "REDIS_PASSWORD" in capsys.readouterr().out


def test_other_lines_of_the_file_stay(file):
    file.write_text("# ours\nEMM_BIND=0.0.0.0\nTZ=Europe/Warsaw\n")
    write_secrets(ENV_FILES[0], file)
    assert file.read_text().startswith("# ours\nEMM_BIND=0.0.0.0\nTZ=Europe/Warsaw\n")
    assert set(values_of(file)) == CREDENTIALS | {"EMM_BIND", "TZ"}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_make_secrets_needs_nothing_installed(file):
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(PROJECT_ROOT)!r})"]
    command[-1] += "; from emm_pipeline.cli.secrets import main; sys.exit(main(sys.argv[1:]))"
    subprocess.run([*command, str(ENV_FILES[0]), str(file)], check=True)
    assert set(values_of(file)) == CREDENTIALS


def test_the_file_is_not_in_git():
    ignored = subprocess.run(["git", "check-ignore", "-q", "config/.env"], cwd=PROJECT_ROOT, check=False)
    assert ignored.returncode == 0


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.255.255.254", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("128.0.0.1", False),
        ("192.168.1.5", False),
        ("localhost.example.com", False),
        ("", False),
    ],
)
def test_which_addresses_only_this_machine_reaches(address, loopback):
    assert is_loopback(address) == loopback


@pytest.fixture
def environment(monkeypatch):
    """The example settings, and nothing else."""
    for name in EXAMPLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("emm_pipeline.settings.ENV_FILES", ENV_FILES[:1])
    return monkeypatch.setenv


def check(*arguments: str):
    return CliRunner().invoke(emm, [*arguments, "settings", "check"])


def test_the_check_names_the_credentials_that_the_stack_makes_and_shows_no_value(environment):
    result = check()
    assert result.exit_code == 0
    assert all(name in result.output for name in CREDENTIALS - {"INFLUXDB_TOKEN"})
    assert not [example for example in PUBLISHED if example in result.output]


@pytest.mark.parametrize("name", sorted(CREDENTIALS - {"INFLUXDB_TOKEN"}))
def test_a_credential_of_the_users_own_is_not_named_whichever_profile_uses_it(environment, name):
    environment(name, "mine")
    assert name not in check().output


def test_the_check_says_that_other_machines_get_in_and_need_a_login(environment):
    environment("EMM_BIND", "0.0.0.0")
    assert "EMM_BIND=0.0.0.0" in check().output
    assert "login" in check().output


def test_a_published_example_counts_as_not_set_wherever_it_is(environment):
    environment("POSTGRES_PASSWORD", EXAMPLES["GF_SECURITY_ADMIN_PASSWORD"])
    settings = load_settings()
    assert settings.postgres_password.get_secret_value() == ""
    assert settings.influxdb_token.get_secret_value() == ""
    assert settings.dagster_login_password.get_secret_value() == ""


def test_the_logins_are_shown_when_asked_for(environment, tmp_path):
    (tmp_path / "secrets").mkdir()
    environment("GF_SECURITY_ADMIN_PASSWORD", "mine")
    arguments = ["settings", "--show-secrets", "--folder", str(tmp_path)]
    shown = CliRunner().invoke(emm, arguments, catch_exceptions=False).output
    assert re.search(r"Grafana\s+3000\s+admin\s+mine", shown)
    password = re.search(r"Dagster\s+3001\s+admin\s+(\S{40,})", shown)
    assert password
    assert password[1] in CliRunner().invoke(emm, [*arguments, "--json"], catch_exceptions=False).output


def test_a_setting_that_is_wrong_fails_the_check(environment):
    environment("TZ", "Mars/Phobos")
    assert "TZ" in str(check().exception)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files to others")
def test_a_file_that_root_writes_belongs_to_the_owner_of_its_folder(tmp_path):
    folder = tmp_path / "secrets"
    folder.mkdir()
    os.chown(folder, 10001, 10001)
    write_file(folder / "credentials.json", "{}")
    written = (folder / "credentials.json").stat()
    assert (written.st_uid, written.st_gid, written.st_mode & 0o777) == (10001, 10001, 0o600)


def test_mail_that_is_on_names_what_it_needs(environment):
    environment("EMAIL_NOTIFICATIONS", "on")
    environment("LOGGER_SENDER_EMAIL_HOST", "mail.farm.example")
    assert "LOGGER_SENDER_EMAIL_ADDRESS, LOGGER_RECEIVER_EMAIL_ADDRESS" in str(load_settings().mail_issue)
    result = check()
    assert result.exit_code == 0, "no command stops because of it"
    assert "WARNING: EMAIL_NOTIFICATIONS is on, but no mail can be sent" in result.output


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://influxdb:8086", "http://influxdb:8086"),
        ("http://user:geheim@influxdb:8086/path", "http://***@influxdb:8086/path"),
        ("http://user:gehe/i?m@x@influxdb", "http://***@influxdb"),
        ("user:geheim@influxdb:8086", "***@influxdb:8086"),
        ("http://influxdb:8086/?token=geheim", "http://influxdb:8086/?***"),
        ("http://influxdb:8086/#geheim", "http://influxdb:8086/#***"),
        ("", ""),
    ],
)
def test_a_url_is_shown_without_user_password_and_query(url, shown):
    assert hide_credentials(url) == shown
    assert hide_url(f"cannot parse {url!r}", url) == f"cannot parse {shown!r}"
