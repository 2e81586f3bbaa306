"""`emm virtual new`: the copy runs at once, and EMM says why a virtual server has no data. (F9, F16)"""

import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest
import yaml
from support.ports import free_port
from support.virtual_server import eventually

from emm_pipeline.settings import PROJECT_ROOT

DOCUMENT = PROJECT_ROOT / "docs" / "adding-a-virtual-device.md"


@pytest.fixture
def device(emm, tmp_path):
    """The folder of a new device."""
    folder = tmp_path / "my_device"
    made = emm("virtual", "new", folder)
    assert made.returncode == 0, made.stderr
    return folder


@pytest.fixture
def start(tmp_path):
    """Starts a device's script, and waits until it listens; the port is returned, the log is in `device.log`."""
    started = []

    def run(folder):
        port = free_port()
        with (tmp_path / "device.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, folder / f"{folder.name}.py", "--host", "127.0.0.1", "--port", str(port)],
                cwd=tmp_path,
                env=os.environ | {"PYTHONPATH": "", "VIRTUAL_SERVER_UPDATE_CRON_SECOND_TRIGGER": "*"},
                stdout=subprocess.PIPE,
                stderr=log,
            )
        started.append(process)
        assert process.stdout.readline() == f"listening on 127.0.0.1:{port}\n".encode()
        return port

    yield run
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_new_device_runs_and_can_be_added_with_the_commands_that_are_printed(emm, tmp_path, start):
    folder = tmp_path / "my_device"
    printed = emm("virtual", "new", folder).stdout
    (script,) = re.findall(
        rf"^  \S*python[0-9.]* {folder}/my_device.py --host 127.0.0.1 --port 5020$", printed, re.MULTILINE
    )
    assert script
    port = start(folder)
    commands = [line.split()[1:] for line in printed.splitlines() if line.startswith("  emm ")]
    assert [words[:2] for words in commands] == [["registers", "import"], ["meters", "add"]]
    for words in commands:
        done = emm(*[word.replace(":5020", f":{port}") for word in words])
        assert done.returncode == 0, done.stdout + done.stderr
    assert "1 of 1 meters read, 2 points, stored" in emm("poll").stdout


def test_the_printed_commands_can_be_copied_if_a_folder_has_a_space_in_its_name(emm, tmp_path):
    folder = tmp_path / "my devices" / "roof"
    printed = emm("virtual", "new", folder).stdout
    commands = [shlex.split(line) for line in printed.splitlines() if line.startswith("  ")]
    words = {word for command in commands for word in command}
    assert {str(folder / "roof.py"), str(folder / "registers.csv"), str(folder / "compose.yml")} <= words


def test_when_the_device_dies_no_old_value_is_stored_and_the_message_names_the_log(emm, device, tmp_path, start):
    flag = tmp_path / "alive"
    flag.touch()
    script = device / "my_device.py"
    text = script.read_text()
    script.write_text(text.replace("    return 1500.0", f"    open({str(flag)!r}).close()\n    return 1500.0"))
    port = start(device)
    assert emm("registers", "import", device / "registers.csv").returncode == 0
    added = emm("meters", "add", f"127.0.0.1:{port}", "--unit", 1, "--type", "my_device")
    assert added.returncode == 0, added.stdout + added.stderr
    assert emm("poll").returncode == 0
    flag.unlink()

    def fails():
        polled = emm("poll")
        return polled.stdout if polled.returncode else None

    eventually(lambda: fails() is not None, within_s=60)
    said = fails()
    assert "exception 4 (device failure)" in said
    assert "it is a virtual server: no update since " in said
    assert "(FileNotFoundError: " in said
    assert f"its log: {tmp_path / 'device.log'}" in said
    checked = emm("meters", "check", "1")
    assert checked.returncode == 1
    assert f"its log: {tmp_path / 'device.log'}" in checked.stdout
    flag.touch()
    eventually(lambda: fails() is None, within_s=60)


def test_only_the_variables_that_it_needs_reach_the_container(emm, device, tmp_path):
    (service,) = yaml.safe_load((device / "compose.yml").read_text())["services"].values()
    assert service["environment"] == {"TZ": "${TZ:-UTC}"}
    assert "env_file" not in service
    assert service["networks"] == ["devices"]
    roof = tmp_path / "roof"
    assert emm("virtual", "new", roof, "--example", "zeversolar").returncode == 0
    (service,) = yaml.safe_load((roof / "compose.yml").read_text())["services"].values()
    assert set(service["environment"]) == {"TZ", "ZEVERSOLAR_HOST"}
    assert 'CMD ["python", "roof.py"]' in (roof / "Dockerfile").read_text()


def test_the_copy_has_every_module_that_its_script_imports(device, tmp_path):
    emptied = shutil.copytree(device, tmp_path / "elsewhere" / "my_device")
    done = subprocess.run(
        [sys.executable, emptied / "my_device.py", "--help"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["server", "My-Device", "1st"])
def test_a_name_that_cannot_be_used_is_refused_and_nothing_is_left(emm, tmp_path, name):
    done = emm("virtual", "new", tmp_path / name)
    assert done.returncode == 2
    assert not (tmp_path / name).exists()


def test_an_existing_folder_is_not_overwritten(emm, device):
    before = (device / "my_device.py").read_text()
    again = emm("virtual", "new", device)
    assert again.returncode == 2
    assert "exists already" in again.stderr
    assert (device / "my_device.py").read_text() == before


def test_the_commands_of_the_document_are_those_that_the_command_prints(emm, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    printed = emm("virtual", "new", "my_device").stdout
    documented = [line.strip() for line in DOCUMENT.read_text().splitlines()]
    commands = [line.strip() for line in printed.splitlines() if line.startswith("  ")]
    assert len(commands) == 6
    python = str(sys.executable)
    missing = [each for each in commands if each.replace(python, ".venv/bin/python") not in documented]
    assert not missing
