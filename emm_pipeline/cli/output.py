"""What all commands share: JSON for programs, plain tables for people, and a question before what cannot be undone."""

from __future__ import annotations

import json
import math
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape
from rich.table import Table

from emm_pipeline.cli.showing.tables import console

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


def print_json(data: Any) -> None:
    """Print data as JSON; times as ISO 8601, and NaN and infinities, which JSON has not, as texts."""
    print(json.dumps(_finite(data), indent=2, ensure_ascii=False, allow_nan=False, default=_as_text))


def _finite(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_finite(value) for value in data]
    return str(data) if isinstance(data, float) and not math.isfinite(data) else data


def _as_text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def print_table(headers: Sequence[str], rows: Iterable[Sequence[object]], *, right: Iterable[str] = ()) -> None:
    """Print rows; None is an empty cell. Long texts are folded, never cut."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    right = set(right)
    for name in headers:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escape("" if cell is None else str(cell)) for cell in row))
    console().print(table)


def shown_time(time: datetime | None) -> str:
    """Return a time for people, in UTC."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S}" if time else ""


def confirm(question: str, *, yes: bool) -> None:
    """Ask on a terminal; elsewhere --yes has to have been given.

    Raises:
        click.Abort: The answer was no.
        click.UsageError: Nobody can be asked.
    """
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise click.UsageError(f"{question} Nobody can be asked here: add --yes")
    click.confirm(question, abort=True, err=True)
