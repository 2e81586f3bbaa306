"""Save and restore a folder with all bytes, owners and modes: Grafana's volume, the outbox, the proxy's volume."""

from __future__ import annotations

import shutil
import sqlite3
import tarfile
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING

from emm_pipeline.backup.archive import BackupError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from emm_pipeline.backup.archive import ArchiveReader, ArchiveWriter

_SQLITE = b"SQLite format 3\x00"
_WAIT_S = 30.0
"""How long another program may write to an SQLite database before the backup fails."""


def save_folder(folder: Path, archive: ArchiveWriter, part: str, without: frozenset[str] = frozenset()) -> int:
    """Write a folder as a tar file; return the number of files.

    While an SQLite database (Grafana's) is copied, other programs cannot write to it. A file that disappears meanwhile
    is left out.

    Args:
        folder: the folder.
        archive: the backup.
        part: the name of the part.
        without: names of folders that are left out.

    Raises:
        BackupError: a file cannot be read.
    """
    files = 0
    with archive.stream(part) as stream, tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        tar.add(folder, arcname=".", recursive=False)  # its owner and mode
        for path in sorted(folder.rglob("*")):
            relative = path.relative_to(folder)
            if without & set(relative.parts) or path.is_socket() or path.is_fifo():
                continue
            try:
                with _unchanged(path):
                    tar.add(path, arcname=str(relative), recursive=False)
            except FileNotFoundError:
                continue
            except (OSError, sqlite3.Error) as err:
                raise BackupError(f"{path} cannot be read: {err}") from None
            files += path.is_file()
    return files


def restore_folder(folder: Path, archive: ArchiveReader, part: str, *, replace: bool) -> int:
    """Write the files of a part into a folder; return their number.

    Args:
        folder: the folder, which is created if it does not exist.
        archive: the backup.
        part: the name of the part.
        replace: remove everything else from the folder first.

    Raises:
        BackupError: a file cannot be written.
    """
    files = 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if replace:
            for path in folder.iterdir():
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
        with archive.stream(part) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
            for member in tar:
                tar.extract(member, folder, filter=_with_owner)
                files += member.isfile()
    except (OSError, tarfile.TarError) as err:
        raise BackupError(f"{folder} cannot be restored: {err}") from None
    return files


def _with_owner(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo:
    """Check that a member stays in the folder, and keep its owner and mode, which tarfile's own filter changes."""
    checked = tarfile.tar_filter(member, path)
    return checked.replace(
        mode=member.mode, uid=member.uid, gid=member.gid, uname=member.uname, gname=member.gname, deep=False
    )


@contextmanager
def _unchanged(path: Path) -> Iterator[None]:
    """Prevent changes of an SQLite database."""
    with ExitStack() as stack:
        if _is_sqlite(path):
            database = stack.enter_context(
                closing(sqlite3.connect(f"file:{path}?mode=rw", uri=True, timeout=_WAIT_S, isolation_level=None))
            )
            database.execute("BEGIN IMMEDIATE")
        yield


def _is_sqlite(path: Path) -> bool:
    if not path.is_file() or path.is_symlink():
        return False
    with path.open("rb") as file:
        return file.read(len(_SQLITE)) == _SQLITE
