"""What the test processes of a run share, in a folder that the variable EMM_TEST_FOLDER names to all of them."""

import atexit
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

VARIABLE = "EMM_TEST_FOLDER"


def pytest_configure() -> None:
    """Make the folder before other test processes are started."""
    shared_folder()


def shared_folder() -> Path:
    """Return the folder of this process and of those that it starts; it is deleted at the end of the first.

    Any user may enter it, as PostgreSQL's must.
    """
    if VARIABLE not in os.environ:
        os.environ[VARIABLE] = folder = tempfile.mkdtemp(prefix="emm-test-")
        Path(folder).chmod(0o755)
        (Path(folder) / "owner").write_text(str(os.getpid()))
        atexit.register(_end, Path(folder), os.getpid())
    return Path(os.environ[VARIABLE])


def made_once(name: str, make: Callable[[Path], None]) -> Path:
    """Return the path of this name, after the first process that asks for it has called `make` with the path."""
    path = shared_folder() / name
    is_made = path.with_name(f"{name}.made")
    with path.with_name(f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_made.exists():
            make(path)
            is_made.touch()
    return path


def owner() -> int:
    """Return the process whose end is the end of the run; what is shared may outlive the process that started it."""
    return int((shared_folder() / "owner").read_text())


def _end(folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # not a process that was forked from it
        shutil.rmtree(folder, ignore_errors=True)
