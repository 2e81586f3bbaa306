"""Texts for messages, and cells of text columns. Pure, and light to import."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_ERROR = 2000
"""Characters of a poll's error that are kept; InfluxDB's limit is 64 kB."""

_MAX_LISTED = 5


def text_or_none(value: object) -> str | None:
    """A cell of a text column; None, NaN and the empty string all mean that there is no text."""
    return value if isinstance(value, str) and value else None


def one_line(text: object, limit: int = 300) -> str:
    """A message of another program in one printable line of at most `limit` characters."""
    line = " ".join(str(text).encode(errors="replace").decode().replace("\0", " ").split())
    return line if len(line) <= limit else line[:limit] + " …"


def number_of(count: int, what: str) -> str:
    """A count with its noun, as `1 point` and `2 points`."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def listed(reasons: Iterable[str]) -> str:
    """Reasons in one line, each once, the first few in full."""
    different = list(dict.fromkeys(reasons))
    more = len(different) - _MAX_LISTED
    return "; ".join(different[:_MAX_LISTED]) + (f"; and {more} more" if more > 0 else "")
