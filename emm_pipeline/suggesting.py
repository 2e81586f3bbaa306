"""Suggest the name that a person may have meant: "did you mean 'sdm630'?" (pure)."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_MOST = 3


def suggestion(given: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """Return the end of an error message, a question with the closest known names; empty if none is close.

    Args:
        given: The name that a person gave.
        known: The names that exist.
        cutoff: How close a name must be, from 0 to 1 (equal).
    """
    by_key = {name.lower(): name for name in known}
    near = [by_key[key] for key in get_close_matches(given.lower(), by_key, n=_MOST, cutoff=cutoff)]
    if not near:
        return ""
    *others, last = map(repr, near)
    return f"; did you mean {', '.join(others)}{' or ' if others else ''}{last}?"
