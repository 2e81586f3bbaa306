"""Generated parts: the map of the modules, the table of commands, and the table of benchmark results."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from emm_pipeline.cli.main import emm

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "emm_pipeline"

PATH_OF_THE_DATA = ("", "config_db", "modbus", "stores", "defs", "cli", "catalog", "embedded_postgres")
"""The packages in the order in which data pass through them."""


def module_map() -> str:
    """Return every module with the first line of its docstring, grouped by package."""
    packages = sorted({path.parent for path in PACKAGE.rglob("*.py")} - {PACKAGE / "config_db/migrations/versions"})
    names = {package.relative_to(PACKAGE).as_posix().removeprefix("."): package for package in packages}
    ordered = [name for name in PATH_OF_THE_DATA if name in names]
    ordered += [name for name in sorted(names) if name not in ordered]
    return "\n\n".join(_package(name, names[name]) for name in ordered)


def _package(name: str, folder: Path) -> str:
    title = f"`emm_pipeline/{name}/`" if name else "`emm_pipeline/`"
    about = _first_line(folder / "__init__.py")
    modules = [path for path in sorted(folder.glob("*.py")) if path.name != "__init__.py"]
    lines = [f"**{title}** {about}", "", "| module | |", "| --- | --- |"]
    lines += [f"| `{path.stem}` | {_first_line(path)} |" for path in modules]
    return "\n".join(lines if modules else lines[:1])


def _first_line(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0].replace("|", "\\|")


def results_table() -> str:
    """Return benchmarks/results.json as tables: one per benchmark, with the dates of its rows."""
    rows = json.loads((ROOT / "benchmarks" / "results.json").read_text(encoding="utf-8"))
    names = dict.fromkeys(row["benchmark"] for row in rows)
    return "\n\n".join(_results_of(name, [row for row in rows if row["benchmark"] == name]) for name in names)


def _results_of(benchmark: str, rows: list[dict[str, Any]]) -> str:
    dates = ", ".join(sorted({row["date"] for row in rows}))
    headers = ("what", "value", "unit", "reference", "ratio", "target", "met")
    lines = [
        f"### {benchmark} ({dates})",
        "",
        f"| {' | '.join(headers)} |",
        "| --- | ---: | --- | ---: | ---: | --- | --- |",
    ]
    for row in rows:
        cells = [row[name] for name in ("name", "value", "unit", "reference", "ratio", "target")]
        met = "" if row["target"] is None else "yes" if row["met"] else "*no*"
        shown = ["" if cell is None else f"{cell:g}" if isinstance(cell, float) else str(cell) for cell in cells]
        lines.append(f"| {' | '.join([*shown, met])} |")
    return "\n".join(lines)


def command_table() -> str:
    """Return every command with the first line of its help and its example."""
    rows = [
        f"| `emm {' '.join(words)}` | {_sentence(command)} | `{_example(command)}` |"
        for words, command in commands(emm)
    ]
    return "\n".join(["| command | | example |", "| --- | --- | --- |", *rows])


def commands(group: click.Group, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every executable command with the words that call it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            if command.invoke_without_command:
                yield (*words, name), command
            yield from commands(command, (*words, name))
        elif command:
            yield (*words, name), command


def _sentence(command: click.Command) -> str:
    paragraph = " ".join((command.help or "").partition("\n\n")[0].split())
    return paragraph.replace("|", "\\|")


def _example(command: click.Command) -> str:
    return " ".join((command.help or "").partition("Example:")[2].split())
