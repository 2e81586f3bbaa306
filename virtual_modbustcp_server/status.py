"""The state of a virtual server, for its client: the last update, why it failed, and where its log is.

The text is in holding registers 65400 to 65524 of each unit, two characters of UTF-8 in a register, unless the device's
script writes registers there. A client that gets exception 4 can read there what is wrong.
"""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

MARK = "EMM virtual server"
FUNCTION_CODE, ADDRESS, COUNT = 3, 65400, 125
LOG_VARIABLE = "VIRTUAL_SERVER_LOG"
_CONTAINER_MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))


def status_words(updated_at: datetime | None, failure: BaseException | None) -> list[int]:
    """Return the registers of the text.

    Args:
        updated_at: The time of the last update that succeeded.
        failure: Why the last update failed; None if it did not, or has not ended.
    """
    since = f"no update since {updated_at:%Y-%m-%d %H:%M:%S} UTC" if updated_at else "no update has succeeded yet"
    why = f"{type(failure).__name__}: {failure}" if failure else "the update does not end"
    end = f"); its log: {log_place()}"
    begin = f"{MARK}: {since} ("
    room = max(0, 2 * COUNT - len(begin.encode()) - len(end.encode()))  # the reason is cut, not the place of the log
    text = begin + _cut(" ".join(why.split()), room) + end
    return list(struct.unpack(f">{COUNT}H", _cut(text, 2 * COUNT).encode().ljust(2 * COUNT, b"\0")))


def _cut(text: str, size: int) -> str:
    """Return the beginning of a text that takes at most `size` bytes."""
    return text.encode()[:size].decode(errors="ignore")


def log_place() -> str:
    """Return where the log of this process is: what VIRTUAL_SERVER_LOG says, or what is known of stderr.

    In a container it is a command in which `{host}` stands for the name of the service.
    """
    if named := os.environ.get(LOG_VARIABLE):
        return named
    try:
        target = Path(f"/proc/self/fd/{sys.stderr.fileno()}").readlink()
    except (AttributeError, OSError, ValueError):
        target = Path()
    if target.is_file():
        return str(target)
    if any(mark.exists() for mark in _CONTAINER_MARKS):
        return "docker compose logs {host}"
    return f"the output of process {os.getpid()} on its machine"
