"""Write the requirements files of the images: each package in the tested version, with the hashes of all its files.

`pip` then installs only files that the index had when the requirements were written, whichever index or mirror it uses,
and for every processor. No index is named: `uv` uses the one of pip's configuration.
"""

import ast
import os
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYTHON = "3.13"
"""That of the images."""

_HEADER = "# Written by `make requirements` from {source}: the hashes are those of all files of a version.\n"


def write_all() -> list[Path]:
    """Write every requirements file; return their paths."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needed = [*project["project"]["dependencies"], *project["project"]["optional-dependencies"]["celery"]]
    source = "pyproject.toml and constraints.txt"
    written = [
        _write(ROOT / "docker" / "requirements.txt", needed, source),
        _write(ROOT / "docker" / "build-requirements.txt", project["build-system"]["requires"], source),
    ]
    for pipfile in sorted(ROOT.glob("*/Pipfile")):
        pins = tomllib.loads(pipfile.read_text(encoding="utf-8"))["packages"]
        written.append(
            _write(pipfile.with_name("requirements.txt"), [name + pin for name, pin in pins.items()], "the Pipfile")
        )
    return written


def _write(file: Path, needed: list[str], source: str) -> Path:
    uv, constraints = str(Path(sys.executable).with_name("uv")), str(ROOT / "constraints.txt")
    command = [uv, "pip", "compile", "-", "--constraint", constraints]
    options = [
        "--python-version",
        PYTHON,
        "--universal",
        "--generate-hashes",
        "--no-header",
        "--no-annotate",
        "--quiet",
    ]
    done = subprocess.run(  # noqa: S603 - ours
        [*command, *options],
        input="\n".join(needed),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=os.environ | index_of_pip(),
    )
    file.write_text(_HEADER.format(source=source) + done.stdout, encoding="utf-8")
    return file


def index_of_pip() -> dict[str, str]:
    """Return the variables by which uv uses pip's index and certificates."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()  # noqa: S603 - ours
    found = {name: ast.literal_eval(value) for name, _, value in (line.partition("=") for line in lines)}
    variables: dict[str, str] = {}
    for setting, variable in (("index-url", "UV_DEFAULT_INDEX"), ("cert", "SSL_CERT_FILE")):
        names = [f"{section}.{setting}" for section in (":env:", "install", "global")]
        values = [found[name] for name in names if name in found]
        if values and variable not in os.environ:
            variables[variable] = values[0]
    return variables
