"""The examples, run as a user runs them, and the other files of the folder."""

import importlib.metadata
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from support.virtual_server import read

REPOSITORY = Path(__file__).parents[2]
FOLDER = REPOSITORY / "virtual_modbustcp_server"


@pytest.fixture
def program():
    """Start a virtual server as a process, and wait until it listens; return the process and its port."""
    started = []

    def start(*command, cwd=REPOSITORY, **environment):
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=cwd,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        started.append(process)
        listening = re.fullmatch(r"listening on 127\.0\.0\.1:(\d+)\n", process.stdout.readline())
        assert listening
        return process, int(listening[1])

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def refused(*command, **environment):
    """Run a virtual server that must not start; return its exit code and its output."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=REPOSITORY,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr


ARGUMENTS = ("--host", "127.0.0.1", "--port", "0")
MODULE = ("-m", "virtual_modbustcp_server.test", *ARGUMENTS)


def floats(data):
    return struct.unpack(f">{len(data) // 4}f", data)


def test_the_random_example_runs_as_a_module_of_the_repository(program):
    _, port = program(*MODULE)
    assert 0 <= int.from_bytes(read(port, 0), "big", signed=True) <= 100


def test_a_copy_of_the_folder_runs_as_a_script_without_the_repository(program, tmp_path):
    copy = shutil.copytree(FOLDER, tmp_path / "my_device")
    # -P and -I would also remove the script's folder; a user has an empty PYTHONPATH and another current folder.
    _, port = program("test.py", *ARGUMENTS, cwd=copy, PYTHONPATH="")
    assert 0 <= int.from_bytes(read(port, 0), "big", signed=True) <= 100


def test_no_file_of_the_folder_imports_the_pipeline():
    for file in FOLDER.glob("*.py"):
        assert "import emm_pipeline" not in file.read_text()
        assert "from emm_pipeline" not in file.read_text()


def test_values_stay_as_they_are_between_updates(program):
    _, port = program(*MODULE, VIRTUAL_SERVER_UPDATE_CRON_HOUR_TRIGGER=str((time.gmtime().tm_hour + 12) % 24))
    assert len({read(port, 0, 42, unit_id=2, function_code=4) for _ in range(5)}) == 1


def test_the_house_is_plausible_and_adds_up(program):
    _, port = program(*MODULE)

    def values(address, count=1):
        return floats(read(port, address, 2 * count, unit_id=2, function_code=4))

    voltages, currents, powers, apparent = (values(address, 3) for address in (0, 6, 12, 18))
    assert all(220 < each < 240 for each in voltages)
    assert apparent == pytest.approx([volts * amperes for volts, amperes in zip(voltages, currents, strict=True)])
    assert values(52)[0] == pytest.approx(sum(powers))
    assert values(48)[0] == pytest.approx(sum(currents))
    assert 49 < values(70)[0] < 51
    assert values(342) == values(72)


def test_imported_energy_only_grows():
    from virtual_modbustcp_server.test import House

    house = House()
    energy = [house.registers()[72] for _ in range(100)]
    assert energy == sorted(energy)


def test_unit_1_shows_every_type_in_every_order(program):
    _, port = program(*MODULE)
    number = int.from_bytes(read(port, 0), "big")
    assert read(port, 0, unit_id=1) == struct.pack(">h", -number)
    abcd = read(port, 8, 2, unit_id=1)
    assert floats(abcd) == (number / 4,)
    assert read(port, 108, 2, unit_id=1) == abcd[2:] + abcd[:2]
    assert read(port, 208, 2, unit_id=1) == abcd[1::-1] + abcd[:1:-1]
    assert read(port, 308, 2, unit_id=1) == abcd[::-1]
    for start in (0, 100, 200, 300):
        assert len(read(port, start + 28, 4, unit_id=1)) == 8


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_exit_code_0(program, number):
    process, _ = program(*MODULE)
    process.send_signal(number)
    assert process.wait(timeout=60) == 0


HANGING = """
import threading
from virtual_modbustcp_server.server import VirtualModbusTCPServer
class Hanging(VirtualModbusTCPServer):
    updates = 0
    def set_datastore(self):
        self.updates += 1
        self.write(0, self.updates)
        if self.updates > 1:
            print("hanging", flush=True)
            threading.Event().wait()
Hanging("127.0.0.1", 0).run()
"""


def test_an_update_that_hangs_does_not_delay_the_end(program):
    process, port = program("-c", HANGING, VIRTUAL_SERVER_UPDATE_CRON_SECOND_TRIGGER="*")
    assert process.stdout.readline() == "hanging\n"
    assert floats(read(port, 0, 2)) == (1,)
    process.terminate()
    assert process.wait(timeout=60) == 0


def test_a_port_in_use_is_an_error_in_one_line_and_an_exit_code(program):
    _, port = program(*MODULE)
    code, text = refused("-m", "virtual_modbustcp_server.test", "--host", "127.0.0.1", "--port", str(port))
    assert code == 1
    assert text.splitlines() == [
        (
            f"error: cannot listen on 127.0.0.1:{port}: Address already in use; "
            "free the port, or choose another one with --port"
        )
    ]


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("VIRTUAL_SERVER_UPDATE_CRON_MINUTE_TRIGGER", "*/0", "numbers from 0 to 59"),
        ("TZ", "Nowhere", "a name such as Europe/Warsaw"),
    ],
)
def test_an_invalid_setting_is_an_error_in_one_line_and_an_exit_code(variable, value, allowed):
    code, text = refused(*MODULE, **{variable: value})
    assert code == 1
    assert text.startswith(f"error: {variable}={value!r}: ")
    assert allowed in text
    assert len(text.splitlines()) == 1


def test_an_invalid_port_is_an_error_in_one_line():
    assert refused("-m", "virtual_modbustcp_server.test", "--port", "70000") == (
        1,
        "error: port 70000 is out of range: allowed are 0 to 65535\n",
    )


def test_the_health_check_tells_a_server_from_a_closed_port(program):
    process, port = program(*MODULE)
    check = [sys.executable, str(FOLDER / "healthcheck.py"), str(port)]
    assert subprocess.run(check, check=False).returncode == 0
    process.terminate()
    process.wait()
    assert subprocess.run(check, check=False, stderr=subprocess.DEVNULL).returncode != 0


@pytest.fixture(scope="module")
def pipfile():
    return tomllib.loads((FOLDER / "Pipfile").read_text())


def test_the_pinned_versions_are_those_that_the_repository_tests(pipfile):
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    wanted = {Requirement(each).name: Requirement(each).specifier for each in project["dependencies"]}
    for name, pin in pipfile["packages"].items():
        version = pin.removeprefix("==")
        assert version != pin
        assert version in wanted[name]


def installed(folder: Path) -> dict[str, str]:
    """Return the packages that the image of a folder installs, with their exact versions."""
    program = [sys.executable, str(folder / "packages.py")]
    printed = subprocess.run(program, capture_output=True, text=True, check=True).stdout
    lines = [line.rstrip(" \\") for line in printed.splitlines() if line and not line.startswith(("#", " "))]
    return {Requirement(line).name: str(Requirement(line).specifier) for line in lines}


@pytest.fixture
def copied(tmp_path) -> Path:
    """A copy of the folder, as for a user's own device."""
    for name in ("Pipfile", "packages.py", "requirements.txt"):
        shutil.copy(FOLDER / name, tmp_path)
    return tmp_path


def test_the_image_installs_what_the_pipfile_pins_each_file_with_its_hash(pipfile):
    dockerfile = (FOLDER / "Dockerfile").read_text()
    assert f"PYTHON_IMAGE=python:{pipfile['requires']['python_version']}-slim" in dockerfile
    assert dockerfile.count("pip install") == 1
    packages = installed(FOLDER)
    assert pipfile["packages"].items() <= packages.items()
    text = (FOLDER / "requirements.txt").read_text()
    for name in packages:
        assert re.search(rf"^{name}==.*\\\n    --hash=sha256:[0-9a-f]{{64}}", text, re.MULTILINE), name


def test_without_requirements_txt_the_pipfile_alone_counts(pipfile, copied):
    (copied / "requirements.txt").unlink()
    assert installed(copied) == pipfile["packages"]


def test_a_package_added_to_the_pipfile_only_ends_the_build_and_says_what_to_do(copied):
    pipfile = copied / "Pipfile"
    pipfile.write_text(pipfile.read_text().replace("[packages]", '[packages]\nhttpx = "==0.28.1"'))
    done = subprocess.run([sys.executable, str(copied / "packages.py")], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "httpx==0.28.1" in done.stderr
    assert "make requirements" in done.stderr


def test_every_package_that_the_folder_imports_is_pinned(pipfile):
    ours = {file.stem for file in FOLDER.glob("*.py")} | set(sys.stdlib_module_names) | {"__future__"}
    imported = {
        name
        for file in FOLDER.glob("*.py")
        for name in re.findall(r"^(?:from|import) (\w+)", file.read_text(), flags=re.MULTILINE)
    }
    providers = importlib.metadata.packages_distributions()
    assert {providers[name][0].lower() for name in imported - ours} <= set(pipfile["packages"])


def test_no_package_index_is_named(pipfile):
    assert set(pipfile) == {"packages", "requires"}
