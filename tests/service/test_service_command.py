"""`emm service …`: units that systemd accepts, for the user and for the system, and their removal."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from emm_pipeline.cli.main import emm
from emm_pipeline.service import installing
from emm_pipeline.service.installing import Manager
from emm_pipeline.settings import PRODUCT_FILES, Settings

SERVICES = ["code-server", "daemon", "watchdog", "web", "webserver"]


@pytest.fixture(autouse=True)
def manager(tmp_path, monkeypatch) -> Manager:
    """The user's systemd, with its folders below a folder with a blank in its name."""
    home = tmp_path / "a home"
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "state"))
    monkeypatch.setattr(installing, "RUNNING", tmp_path / "systemd does not run")
    return installing.user_manager(home / "config", home / "state")


def run(*arguments: str):
    return CliRunner().invoke(emm, ["service", *arguments], catch_exceptions=False)


@pytest.fixture
def installed(manager) -> list[Path]:
    """The units of an installation with settings."""
    assert run("install", "--user").exit_code == 0
    with manager.settings.open("a") as file:
        file.write("POSTGRES_PASSWORD='pa$$ w0rd'\n")
    done = run("install", "--user")
    assert done.exit_code == 0, done.output
    return installing.installed(manager)


def verify(files: list[Path], *options: str) -> str:
    """Return what systemd says about units; it must find nothing wrong in them."""
    if shutil.which("systemd-analyze") is None:
        assert os.environ.get("EMM_REQUIRE_SERVERS") != "1", "systemd is not installed"
        pytest.skip("systemd-analyze is not installed: apt-get install systemd")
    environment = {
        **os.environ,
        "SYSTEMD_UNIT_PATH": f"{files[0].parent}:/usr/lib/systemd/system:/usr/lib/systemd/user",
    }
    environment["XDG_RUNTIME_DIR"] = str(files[0].parent)
    command = ["systemd-analyze", *options, "--man=no", "verify", *map(str, files)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "emm" in line]
    assert done.returncode == 0, done.stderr
    return "\n".join(ours)


def test_the_first_time_it_writes_a_file_for_the_settings_that_only_its_owner_can_read(manager):
    done = run("install", "--user")
    assert f"{manager.settings}: written" in done.output.replace("\n", "")
    assert stat.S_IMODE(manager.settings.stat().st_mode) == 0o600
    assert not installing.installed(manager)


def test_systemd_accepts_the_units_of_the_user(installed):
    assert [file.name for file in installed] == [*(f"emm-{name}.service" for name in SERVICES), "emm.target"]
    assert verify(installed, "--user") == ""


def test_systemd_accepts_the_units_of_the_system(tmp_path):
    manager = Manager(True, tmp_path / "units", tmp_path / "emm.env", tmp_path / "state", "daemon")
    installing.create_settings(manager)
    settings = Settings(postgres_host="db", postgres_user="emm", postgres_db="emm", mqtt_url="mqtt://b:1883")
    backups = tmp_path / "backups elsewhere"
    settings = settings.model_copy(update={"backup_dir": backups, "outbox_dir": manager.state / "outbox"})
    wanted = installing.processes(settings, ["web"], "0.0.0.0", manager.state)
    files = installing.install(manager, wanted, installing.folders_elsewhere(settings, manager.state))
    assert {file.name for file in files} == {
        "emm.target",
        *(f"emm-{name}.service" for name in (*SERVICES, "mqtt", "backup")),
    }
    assert verify(files) == ""
    text = (manager.unit_folder / "emm-code-server.service").read_text()
    assert "User=daemon" in text
    assert f'ReadWritePaths={manager.state} "{backups}"\n' in text, "the others are read-only for it"
    if os.geteuid() == 0:
        assert manager.state.owner() == backups.owner() == "daemon"


@pytest.mark.parametrize(
    ("bind", "password", "login"),
    [("127.0.0.1", "", False), ("127.0.0.1", "secret", True), ("0.0.0.0", "secret", True)],
)
def test_the_web_page_asks_for_a_login_unless_it_listens_on_this_machine_only(bind, password, login):
    settings = Settings(postgres_host="db", postgres_user="emm", postgres_db="emm", web_login_password=password)
    (web,) = [each for each in installing.processes(settings, ["web"], bind, Path("/s")) if each.name == "web"]
    assert ("--no-login" not in web.arguments) == login
    assert web.arguments[:3] == ("web", "--host", bind)


def test_systemd_reads_the_settings_and_starts_this_emm(installed, manager):
    text = (manager.unit_folder / "emm-code-server.service").read_text()
    program = Path(sys.executable).with_name("emm")
    assert f"ExecStart={program} code-server --host 127.0.0.1 --port 4000" in text
    assert f"ExecStartPre={program} db upgrade" in text
    assert f"EnvironmentFile={manager.settings}" in text
    given = manager.settings.read_text()
    assert f"DAGSTER_HOME={manager.state}/dagster" in given
    assert (manager.state / "dagster" / "dagster.yaml").resolve() == PRODUCT_FILES / "dagster.yaml"


def test_a_changed_setting_adds_and_removes_services_and_keeps_the_settings_and_a_persons_own_files(installed, manager):
    own = manager.unit_folder / "emm-mine.service"
    own.write_text("[Service]\nExecStart=/bin/true\n")
    before = manager.settings.read_text()
    manager.settings.write_text(before + "MQTT_URL=mqtt://broker:1883\n")
    assert run("install", "--user").exit_code == 0
    assert (manager.unit_folder / "emm-mqtt.service").exists()
    manager.settings.write_text(before)
    assert run("install", "--user").exit_code == 0
    assert not (manager.unit_folder / "emm-mqtt.service").exists()
    assert manager.settings.read_text() == before
    assert own.exists()
    assert run("remove", "--user").exit_code == 0
    assert [file.name for file in manager.unit_folder.iterdir()] == [own.name]
    assert manager.settings.exists()


def test_an_invalid_setting_is_reported_and_writes_no_unit(manager):
    run("install", "--user")
    with manager.settings.open("a") as file:
        file.write("TZ=Mars/Phobos\n")
    done = CliRunner().invoke(emm, ["service", "install", "--user"])
    assert "TZ='Mars/Phobos'" in str(done.exception)
    assert not installing.installed(manager)


def test_a_user_that_does_not_exist_is_named_with_what_to_do(tmp_path):
    manager = Manager(True, tmp_path / "units", tmp_path / "emm.env", tmp_path / "state", "no-such-user")
    installing.create_settings(manager)
    with pytest.raises(Exception, match="useradd --system --user-group no-such-user"):
        installing.install(manager, ())


@pytest.mark.parametrize("command", [("status",), ("logs",), ("remove",)])
def test_without_services_the_commands_say_how_to_install_them(command):
    done = CliRunner().invoke(emm, ["service", *command, "--user"])
    assert "emm service install" in str(done.exception)


@pytest.mark.parametrize(
    ("arguments", "called"),
    [
        (("status",), ["systemctl", "--user", "status", "--no-pager", "--lines=3", "emm-code-server.service"]),
        (("logs", "daemon"), ["journalctl", "--no-pager", "--lines=100", "--user-unit", "emm-daemon.service"]),
        (("logs", "-f", "-n", "5"), ["journalctl", "--no-pager", "--lines=5", "--follow", "--user-unit"]),
    ],
)
def test_status_and_logs_ask_systemd_about_the_services(installed, monkeypatch, arguments, called):
    commands: list[list[str]] = []
    monkeypatch.setattr(installing, "run", lambda command: commands.append(command) or 3)
    done = CliRunner().invoke(emm, ["service", *arguments, "--user"])
    assert done.exit_code == 3, "the exit code of systemd's command"
    assert commands[0][: len(called)] == called


def test_a_service_that_does_not_exist_is_answered_with_those_that_do(installed):
    done = CliRunner().invoke(emm, ["service", "logs", "daemons", "--user"])
    assert "there are: code-server, daemon, watchdog, web, webserver" in str(done.exception)


def test_where_systemd_runs_the_services_are_enabled_and_started(installed, manager, monkeypatch, tmp_path):
    commands: list[list[str]] = []
    monkeypatch.setattr(installing, "RUNNING", tmp_path)
    monkeypatch.setattr(installing, "run", lambda command: commands.append(command) or 0)
    assert run("install", "--user").exit_code == 0
    names = [file.name for file in installed]
    assert commands == [
        ["systemctl", "--user", "daemon-reload"],
        ["systemctl", "--user", "enable", *names],
        ["systemctl", "--user", "restart", "emm.target", *(name for name in names if name != "emm.target")],
    ]
    assert run("remove", "--user").exit_code == 0
    assert commands[3] == ["systemctl", "--user", "disable", "--now", *names]
