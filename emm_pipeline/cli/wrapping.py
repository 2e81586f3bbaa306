"""Wrap sentences for the terminal: between words, never inside a time, and never a command that is to be copied."""

from __future__ import annotations

import re
import textwrap

_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?( [A-Z]{2,5}\b)?")
_FIXED_SPACE = "\N{NO-BREAK SPACE}"
_COMMAND = re.compile(r"\s+(\S*emm|docker|INSERT|my_\w*|type,)[ ,]")
"""The beginning of an indented line that is to be copied."""


def wrapped(line: str, width: int, first: str = "", others: str = "    ") -> str:
    """Return a sentence as lines of at most `width` characters; only a longer word makes a longer line.

    Args:
        line: The sentence.
        width: The width of the terminal.
        first: The indentation of the first line.
        others: That of the others.
    """
    if len(line) <= width - len(first) or _COMMAND.match(line):
        return first + line
    fixed = _TIME.sub(lambda time: time[0].replace(" ", _FIXED_SPACE), line)
    lines = textwrap.wrap(
        *(fixed, width),
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines).replace(_FIXED_SPACE, " ")
