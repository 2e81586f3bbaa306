"""Format texts for messages, and convert cells of text columns. Pure, and fast to import."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_ERROR = 2000
"""Maximum number of characters of a poll's error; InfluxDB's limit is 64 kB."""

_MAX_LISTED = 5


def text_or_none(value: object) -> str | None:
    """Return a cell of a text column; None, NaN and the empty string become None."""
    return value if isinstance(value, str) and value else None


def one_line(text: object, limit: int = 300) -> str:
    """Return a message of another program as one printable line of at most `limit` characters."""
    line = " ".join(str(text).encode(errors="replace").decode().replace("\0", " ").split())
    return line if len(line) <= limit else line[:limit] + " …"


def number_of(count: int, what: str) -> str:
    """Return a count with its noun, such as `1 point` and `2 points`."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def listed(reasons: Iterable[str]) -> str:
    """Return reasons as one line: the first few different ones, and the number of the others."""
    different = list(dict.fromkeys(reasons))
    more = len(different) - _MAX_LISTED
    return "; ".join(different[:_MAX_LISTED]) + (f"; and {more} more" if more > 0 else "")
