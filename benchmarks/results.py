"""The rows of the benchmarks: printed as a table, and kept in results.json by benchmark."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable

RESULTS = Path(__file__).with_name("results.json")


@dataclass(frozen=True, slots=True)
class Row:
    """One measured value. `reference` is a value to compare with, from the same run; `ratio` is value / reference.

    A row without a target (None) is for information; its `met` is True.
    """

    name: str
    value: float
    unit: str
    reference: float | None = None
    ratio: float | None = None
    target: str | None = None
    met: bool = True


def against(name: str, value: float, reference: float, unit: str, most: float) -> Row:
    """Return a row whose value may be at most `most` times the reference."""
    ratio = value / reference
    target = f"≤ {most:g} × reference"
    return Row(name, round(value, 4), unit, round(reference, 4), round(ratio, 3), target, ratio <= most)


def times_faster(name: str, value: float, reference: float, unit: str, least: float) -> Row:
    """Return a row that must be at least `least` times faster than the reference; the ratio is reference / value."""
    ratio = reference / value
    target = f"≥ {least:g} × faster"
    return Row(name, round(value, 4), unit, round(reference, 4), round(ratio, 1), target, ratio >= least)


def at_most(name: str, value: float, unit: str, most: float | None, reference: float | None = None) -> Row:
    """Return a row whose value may be at most `most`; None: any value."""
    if most is None:
        return info(name, value, unit)
    ratio = round(value / reference, 3) if reference else None
    compared = round(reference, 3) if reference else None
    return Row(name, round(value, 3), unit, compared, ratio, f"≤ {most:g} {unit}", value <= most)


def info(name: str, value: float, unit: str) -> Row:
    """Return a row without a target."""
    return Row(name, round(value, 3), unit)


def keep(rows: list[Row], benchmark: str, order: Iterable[str], path: Path = RESULTS) -> None:
    """Write the rows of a benchmark into results.json instead of its earlier ones, with the date; none: keep those.

    `order` has the names of all benchmarks in the order of the file.
    """
    old = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    by_benchmark: dict[str, list[dict[str, Any]]] = {}
    for row in old:
        by_benchmark.setdefault(row["benchmark"], []).append(row)
    if rows:
        today = datetime.now(UTC).date().isoformat()
        by_benchmark[benchmark] = [{"benchmark": benchmark, "date": today} | asdict(row) for row in rows]
    kept = [row for name in order for row in by_benchmark.get(name, [])]
    path.write_text(json.dumps(kept, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def show(rows: list[Row]) -> None:
    """Print rows as a table."""
    table = Table("what", "value", "unit", "reference", "ratio", "target", "met")
    for row in rows:
        cells = (row.name, row.value, row.unit, row.reference, row.ratio, row.target)
        shown = ("" if cell is None else f"{cell:g}" if isinstance(cell, float) else str(cell) for cell in cells)
        table.add_row(*shown, "" if row.target is None else "yes" if row.met else "[red]no[/]")
    Console(width=160).print(table)
