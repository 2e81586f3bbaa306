"""Nothing needs root: the demo (databases, meter, discovery and poll) runs as a user without any rights."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.postgres import postgres_folder

from emm_pipeline.settings import PROJECT_ROOT

UNPRIVILEGED = 65534
SYSTEM_PYTHON = f"/usr/bin/python3.{sys.version_info.minor}"


def is_open_to_all(path: Path | str) -> bool:
    return all(folder.stat().st_mode & 0o001 for folder in Path(path).parents)


def reachable_python() -> str | None:
    """Return an interpreter of this version that any user may start; other users cannot start one in root's home."""
    candidates = (os.path.realpath(sys.executable), SYSTEM_PYTHON)
    return next((python for python in candidates if Path(python).exists() and is_open_to_all(python)), None)


def link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


def open_to_all(folder: Path, elsewhere: Path) -> Path:
    """Return the folder, or a copy `elsewhere` if only root may enter it."""
    if is_open_to_all(folder / "file"):
        return folder
    skipped = shutil.ignore_patterns(".git", ".venv*", ".hypothesis", "__pycache__", ".*_cache")
    return Path(shutil.copytree(folder, elsewhere, copy_function=link_or_copy, ignore=skipped, symlinks=True))


@pytest.mark.skipif(os.geteuid() != 0, reason="not root: all other tests show it")
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed: apt-get install util-linux")
@pytest.mark.skipif(reachable_python() is None, reason=f"root's own Python, and there is no {SYSTEM_PYTHON}")
def test_the_demo_runs_as_a_user_without_any_rights():
    with postgres_folder() as folder:
        packages = open_to_all(Path(np.__file__).parents[1], folder / "packages")
        project = open_to_all(PROJECT_ROOT, folder / "project")
        os.chown(folder, UNPRIVILEGED, UNPRIVILEGED)
        command = ["setpriv", f"--reuid={UNPRIVILEGED}", f"--regid={UNPRIVILEGED}", "--clear-groups", "--no-new-privs"]
        command += ["--bounding-set=-all", "--inh-caps=-all", str(reachable_python()), "-c"]
        command += ["from emm_pipeline.cli.main import main; main()", "demo", "--once", "--data-dir", f"{folder}/demo"]
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(folder),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": f"{packages}:{project}",
        }
        demo = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert demo.returncode == 0, demo.stderr
        assert "test_measurement" in demo.stdout
        assert {path.lstat().st_uid for path in (folder / "demo").rglob("*")} == {UNPRIVILEGED}
