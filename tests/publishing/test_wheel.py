"""The wheel: its content, and that it runs without the checkout."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.postgres import postgres_folder

from emm_pipeline.settings import ENV_FILES, PROJECT_ROOT
from tools.dependencies.requirements import index_of_pip

pytestmark = pytest.mark.timeout(600)

SECRET = "POSTGRES_PASSWORD=not-for-others"
UV = Path(sys.executable).with_name("uv")
"""It installs as pip does, in a tenth of the time."""


def project_files() -> list[str]:
    """Return the files that a commit of everything would contain, without ignored files and build results."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    return [name for name in listed.split("\0") if name and (PROJECT_ROOT / name).is_file()]


@pytest.fixture(scope="module")
def dist(tmp_path_factory) -> Path:
    """The result of `python -m build` from a copy of the checkout that has credentials in config/.env."""
    checkout = tmp_path_factory.mktemp("checkout")
    for name in project_files():
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PROJECT_ROOT / name, checkout / name)
    (checkout / "config" / ".env").write_text(f"{SECRET}\n")
    command = [sys.executable, "-m", "build", "--installer", "uv"]
    environment = os.environ | index_of_pip()
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return checkout / "dist"


@pytest.fixture(scope="module")
def wheel(dist) -> Path:
    (wheel,) = dist.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def empty_environment(wheel) -> Iterator[Path]:
    """A folder with only a virtual environment, in which the wheel is installed."""
    with postgres_folder() as folder:
        venv = folder / "venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
        install = [UV, "pip", "install", "--quiet", "--python", venv / "bin" / "python"]
        needed = ["--constraint", PROJECT_ROOT / "constraints.txt", f"emm-pipeline[demo] @ {wheel.as_uri()}"]
        subprocess.run([*install, *needed], env=os.environ | index_of_pip(), check=True)
        yield folder


def contents(archive: Path) -> dict[str, bytes]:
    """Return every file of a wheel or source archive by its name below the archive's own folder."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as files:
            return {name: files.read(name) for name in files.namelist()}
    with tarfile.open(archive) as files:
        members = [member for member in files.getmembers() if member.isfile()]
        return {member.name.partition("/")[2]: files.extractfile(member).read() for member in members}


def needed_at_run_time() -> dict[str, str]:
    """Return the place in the wheel of each file that EMM needs, by its name in the checkout."""
    names = [name for name in project_files() if name.startswith(("emm_pipeline/", "virtual_modbustcp_server/"))]
    of_copies = ("Dockerfile", "Pipfile", "requirements.txt", ".dockerignore")  # what `emm virtual new` copies
    modules = {name: name for name in names if name.endswith((".py", ".csv", ".mako", "py.typed", *of_copies))}
    shared = ["dagster.yaml", "workspace.yaml", *(name for name in project_files() if name.startswith("config/"))]
    return modules | {name: f"emm_pipeline/shipped/{name}" for name in shared}


def test_the_wheel_holds_everything_that_the_product_needs_as_it_is_in_the_checkout(wheel):
    inside = contents(wheel)
    needed = needed_at_run_time()
    assert {"config/.env.dev", "config/postgres_init.sql", "config/grafana/dashboards/home.json"} <= set(needed)
    assert {"emm_pipeline/py.typed", "virtual_modbustcp_server/py.typed"} <= set(needed)
    assert [name for name, there in needed.items() if inside.get(there) != (PROJECT_ROOT / name).read_bytes()] == []


def test_neither_archive_holds_the_credentials_of_whoever_built_it(dist):
    archives = list(dist.iterdir())
    assert len(archives) == 2
    for archive in archives:
        assert [name for name, data in contents(archive).items() if SECRET.encode() in data] == [], archive.name


def test_the_wheel_installed_into_an_empty_environment_runs_the_demo_from_an_empty_folder(empty_environment):
    folder = empty_environment / "empty"
    folder.mkdir()
    environment = {"PATH": os.environ["PATH"], "HOME": str(empty_environment), "TMPDIR": str(empty_environment)}
    command = [empty_environment / "venv" / "bin" / "emm", "demo", "--once"]
    demo = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert demo.returncode == 0, demo.stderr
    (row,) = [line for line in demo.stdout.splitlines() if "test_measurement" in line]
    assert row.split()[:3] == ["0", "test_energy_meter", "test_measurement"]
    assert list(folder.iterdir()) == []


def test_every_command_that_the_check_of_the_settings_names_exists_where_only_the_wheel_is(empty_environment):
    emm = empty_environment / "venv" / "bin" / "emm"
    checked = subprocess.run(
        [emm, "settings", "check"], cwd=empty_environment, capture_output=True, text=True, check=True
    )
    assert "make " not in checked.stdout
    named = re.findall("`[^` ]*emm ([^`]+)`", checked.stdout)
    assert named
    for command in named:
        subprocess.run([emm, *command.split(), "--help"], cwd=empty_environment, check=True, stdout=subprocess.DEVNULL)


def test_an_installed_emm_makes_a_virtual_device(empty_environment):
    folder = empty_environment / "devices"
    folder.mkdir()
    emm = empty_environment / "venv" / "bin" / "emm"
    subprocess.run([emm, "virtual", "new", "my_device"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    python = empty_environment / "venv" / "bin" / "python"
    subprocess.run([python, "my_device/my_device.py", "--help"], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def test_an_installed_emm_takes_the_example_settings_and_keeps_no_data_among_its_packages(empty_environment):
    show = "from emm_pipeline.settings import *; print(ENV_FILES[0]); print(load_settings().outbox_folder)"
    environment = {"PATH": os.environ["PATH"], "HOME": str(empty_environment)}
    command = [empty_environment / "venv" / "bin" / "python", "-c", show]
    done = subprocess.run(
        command, cwd=empty_environment, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    example, outbox = map(Path, done.stdout.splitlines())
    assert example.read_text() == ENV_FILES[0].read_text()
    assert outbox == empty_environment / ".local" / "state" / "emm" / "outbox"
