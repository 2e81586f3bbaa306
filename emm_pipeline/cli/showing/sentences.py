"""Print sentences wrapped for the terminal, and findings about several meters once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emm_pipeline.cli.output import say
from emm_pipeline.cli.runnable import runnable
from emm_pipeline.cli.showing.tables import console
from emm_pipeline.cli.wrapping import wrapped

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_METERS = 8


def say_wrapped(text: str) -> None:
    """Print lines, each wrapped if the output is a terminal."""
    out = console()
    lines = runnable(text).split("\n")
    say("\n".join(wrapped(line, out.width) if out.is_terminal else line for line in lines))


def say_grouped(what: str, findings: Iterable[tuple[str, str]]) -> None:
    """Print each finding once, with all the meters of which it is true.

    Args:
        what: What the findings are, such as `failed`.
        findings: Pairs of a meter's name for people, and the finding.
    """
    meters: dict[str, list[str]] = {}
    for meter, finding in findings:
        meters.setdefault(finding, []).append(meter)
    for finding, names in meters.items():
        more = len(names) - MOST_METERS
        told = ", ".join(names[:MOST_METERS]) + (f" and {more} more" if more > 0 else "")
        say_wrapped(f"{what}: {told}: {finding}")
