"""Print the same issue of several meters once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emm_pipeline.cli.output import say

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_METERS = 8


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
        say(f"{what}: {told}: {issue}")
