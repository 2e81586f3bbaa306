"""A batch of points as a file: how it is written so that it outlives a crash, and read again.

    # EMM outbox 1; 2 points; run 5e0c…
    voltageL1,dataunit=V,description=mains,id=1 value=230.5 1772366400000
    emm_poll,description=mains,id=1 ok=1i,requests=2i,points=1i,latency_ms=12.5 1772366400000

Gzipped UTF-8 (a fifth of the size, at 5 ms per MB). The first line is a comment to InfluxDB, so that its own tools load
such a file: `influx write --precision ms --compression gzip --file …`.
"""

from __future__ import annotations

import fcntl
import gzip
import os
import re
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from emm_pipeline.stores.base import RejectedPoint

FORMAT = 1
TEMPORARY_SUFFIX = ".tmp"
_HEADER = re.compile(r"# EMM outbox (\d+); (\d+) points; run (.*)")
_GZIP_LEVEL = 1


class DamagedFileError(ValueError):
    """A file that cannot be read back, or was written by a later version; says which and why."""


def pack(lines: Sequence[str], run: str) -> bytes:
    """Return a file's content; `run` names who read the points."""
    text = "\n".join((f"# EMM outbox {FORMAT}; {len(lines)} points; run {run}", *lines, ""))
    return gzip.compress(text.encode(), _GZIP_LEVEL, mtime=0)


def unpack(content: bytes, name: str) -> list[str]:
    """Return the lines of a file's content.

    Raises:
        DamagedFileError: it is not what `pack` made.
    """
    try:
        header, *lines = gzip.decompress(content).decode().removesuffix("\n").split("\n")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as err:
        raise DamagedFileError(f"{name} is damaged: {err}") from err
    points = _points(header, name)
    if points != len(lines):
        raise DamagedFileError(f"{name} is damaged: it holds {len(lines)} points of {points}")
    return lines


def read_points(path: Path) -> int:
    """Return how many points a file says that it holds; its beginning is enough for that. 0 if it is damaged."""
    try:
        with gzip.open(path) as file:
            return _points(file.readline(200).decode().removesuffix("\n"), path.name)
    except (OSError, EOFError, zlib.error, ValueError):
        return 0


def _points(header: str, name: str) -> int:
    match = _HEADER.fullmatch(header)
    if not match:
        raise DamagedFileError(f"{name} is no file of EMM's outbox: it begins with {header[:40]!r}")
    if int(match[1]) != FORMAT:
        raise DamagedFileError(f"{name} has the format {match[1]}; this version of EMM reads {FORMAT}")
    return int(match[2])


def with_reasons(refused: Sequence[RejectedPoint]) -> bytes:
    """Return a file of refused lines: each reason once, as a comment above its lines."""
    by_reason: dict[str, list[str]] = {}
    for refusal in refused:
        by_reason.setdefault(refusal.reason, []).append(refusal.line)
    groups = ("\n".join((f"# {reason}", *lines, "")) for reason, lines in by_reason.items())
    return "".join(groups).encode()


def read_refused(path: Path) -> list[str]:
    """Return the lines of a file of `with_reasons`, without the reasons."""
    return [line for line in _rejected_lines(path) if not line.startswith("#")]


def read_reasons(path: Path) -> tuple[int, str]:
    """Return how many points a file of `with_reasons` holds, and why they were refused, in one line."""
    lines = _rejected_lines(path)
    reasons = [line.removeprefix("# ") for line in lines if line.startswith("#")]
    return len(lines) - len(reasons), "; ".join(reasons)


def _rejected_lines(path: Path) -> list[str]:
    # Not read_text(), which would take a carriage return in a description for a line's end.
    return path.read_bytes().decode().removesuffix("\n").split("\n")


def make_folder(folder: Path) -> None:
    """Make a folder that outlives a crash, unless it is there."""
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        _sync_folder(folder.parent)


def create_durably(path: Path, content: bytes) -> int:
    """Write a file under a temporary name, wait until the disk has it, rename it; return a descriptor that locks it.

    Raises:
        OSError: nothing is left of it.
    """
    temporary = path.with_name(f".{path.name}{TEMPORARY_SUFFIX}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
    try:
        # Before it has its name: nobody ever sees it without its lock.
        fcntl.flock(fd, fcntl.LOCK_EX)
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view) :]
        os.fsync(fd)
        temporary.rename(path)
        _sync_folder(path.parent)
    except BaseException:
        os.close(fd)
        temporary.unlink(missing_ok=True)
        raise
    return fd


def _sync_folder(folder: Path) -> None:
    """Wait until the disk has the folder's names."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
