"""Wrap sentences for the terminal: between words, never inside a time, and never a command that is to be copied.

A command within a sentence stays on one line if it fits on one.
"""

from __future__ import annotations

import re
import textwrap

_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?( [A-Z]{2,5}\b)?")
_FIXED_SPACE = "\N{NO-BREAK SPACE}"
_COMMAND = re.compile(r"\s+(\S*emm|docker|\S*python[\d.]*|INSERT|my_\w*|type,)[ ,]")
"""The beginning of an indented line that is to be copied."""
_COMMAND_IN_SENTENCE = re.compile(r"(?<![\w/-])(\S*emm|docker compose)( [^\s;,()]+)+")


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

    def fix(found: re.Match[str]) -> str:
        fits = len(found[0]) <= width - len(others)
        return found[0].replace(" ", _FIXED_SPACE) if fits else found[0]

    fixed = _TIME.sub(fix, _COMMAND_IN_SENTENCE.sub(fix, line))
    lines = textwrap.wrap(
        *(fixed, width),
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines).replace(_FIXED_SPACE, " ")
