"""Print sentences wrapped for the terminal, and the same issue of several meters once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emm_pipeline.cli.output import say
from emm_pipeline.cli.showing.tables import console
from emm_pipeline.cli.wrapping import wrapped
from emm_pipeline.runnable import runnable

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_METERS = 8


def say_wrapped(text: str) -> None:
    """Print lines, each wrapped if the output is a terminal."""
    out = console()
    lines = runnable(text).split("\n")
    say("\n".join(wrapped(line, out.width) if out.is_terminal else line for line in lines))


def say_grouped(what: str, issues: Iterable[tuple[str, str]]) -> None:
    """Print each issue once, with all the meters that have it.

    Args:
        what: The kind of the issues, such as `failed`.
        issues: Pairs of a meter's name for people, and the issue.
    """
    meters: dict[str, list[str]] = {}
    for meter, issue in issues:
        meters.setdefault(issue, []).append(meter)
    for issue, names in meters.items():
        more = len(names) - MOST_METERS
        told = ", ".join(names[:MOST_METERS]) + (f" and {more} more" if more > 0 else "")
        say_wrapped(f"{what}: {told}: {issue}")
