"""Output of all commands: lines for people, JSON for programs, and a question before an irreversible change.

No other module prints. Names and hosts come from a database, so control characters are escaped and long texts are cut
before they reach a terminal.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import sys
import unicodedata
from datetime import UTC, datetime
from typing import Any

import click

from emm_pipeline.cli.wrapping import wrapped
from emm_pipeline.runnable import runnable

MAX_LINE = 2000
"""Maximum number of characters in a line; longer lines are cut."""

_UNPRINTABLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode categories that are escaped: control and formatting characters (some reverse the text), line ends."""
_CONTROL_IN_JSON = re.compile("[\x7f-\x9f]")

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


def printable(text: object, limit: int = MAX_LINE) -> str:
    """Return the text as one line of at most `limit` characters, with unprintable ones as escapes."""
    whole = str(text)
    shown = whole if whole.isascii() and whole.isprintable() else "".join(map(_escaped, whole[: limit + 1]))
    if len(whole) <= limit:
        return shown
    return f"{shown[:limit]}… ({len(whole)} characters)"


def _escaped(character: str) -> str:
    if unicodedata.category(character) in _UNPRINTABLE:
        return character.encode("unicode_escape").decode()
    return character


def say(text: object = "") -> None:
    """Print lines for people, on stdout, wrapped between words if that is a terminal."""
    _print_lines(text, sys.stdout)


def note(text: object) -> None:
    """Print lines that are not the command's result, on stderr, wrapped as by `say`."""
    _print_lines(text, sys.stderr)


def _print_lines(text: object, file: Any) -> None:
    lines = list(map(printable, runnable(str(text)).split("\n")))
    if width := _terminal_width(file):
        lines = [wrapped(line, width) for line in lines]
    print("\n".join(lines), file=file, flush=True)


def _terminal_width(file: Any) -> int | None:
    """Return the width of the terminal that a stream goes to; None if it goes elsewhere.

    The variable TTY_COMPATIBLE decides otherwise, as for rich, which prints the tables.
    """
    given = os.environ.get("TTY_COMPATIBLE")
    is_terminal = given == "1" if given in {"0", "1"} else file is not None and file.isatty()
    return shutil.get_terminal_size().columns if is_terminal else None


def print_json(data: Any, indent: int | None = 2) -> None:
    """Print data as JSON: times as ISO 8601 in UTC; NaN and infinities, which JSON does not have, as strings."""
    text = json.dumps(_finite(data), indent=indent, ensure_ascii=False, allow_nan=False, default=_as_text)
    escaped = _CONTROL_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    print(escaped, flush=True)  # noqa: T201 - here only


def _finite(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_finite(value) for value in data]
    return str(data) if isinstance(data, float) and not math.isfinite(data) else data


def _as_text(value: object) -> str:
    if not isinstance(value, datetime):
        return str(value)
    return (value.astimezone(UTC) if value.tzinfo else value).isoformat()


def can_ask() -> bool:
    """Whether there is a person at a terminal who can answer a question."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr is not None and sys.stderr.isatty()


def confirm(question: str, *, yes: bool) -> None:
    """Ask the question on a terminal. Without a terminal, `yes` must be true.

    Raises:
        click.Abort: The answer was no.
        click.UsageError: There is no terminal to ask on.
    """
    if yes:
        return
    if not can_ask():
        raise click.UsageError(f"{printable(question)} There is no terminal to ask on: add --yes")
    click.confirm(printable(question), abort=True, err=True)
