"""How many devices of other projects the catalogue covers: the tables of docs/catalogue.md.

`templates.csv` names, for each meter template of evcc with Modbus, each type of mbmd and each meter of OpenEMS, the
types that read such a device, or the reason why there is none.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tools.catalogue.facts import FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TITLES = {
    "evcc": "Meter templates of evcc with Modbus",
    "mbmd": "Types of mbmd",
    "openems": "Meters of OpenEMS",
}


@dataclass(frozen=True, slots=True)
class Template:
    """A device of another project: the types that read it, or the reason why there is none."""

    project: str
    name: str
    types: tuple[str, ...]
    reason: str


def load_templates() -> list[Template]:
    """Return the devices of other projects in the order of the file."""
    with (FOLDER / "templates.csv").open(encoding="utf-8", newline="") as lines:
        return [
            Template(row["project"], row["template"], tuple(row["types"].split()), row["reason"])
            for row in csv.DictReader(lines)
        ]


def tables(templates: Sequence[Template]) -> Iterator[str]:
    """Yield the section in Markdown: a summary, then for each project what is covered and what is not."""
    summary = ["| project | devices | covered | % |", "| --- | ---: | ---: | ---: |"]
    for project, title in TITLES.items():
        of_project = [each for each in templates if each.project == project]
        covered = sum(bool(each.types) for each in of_project)
        summary.append(f"| {title} | {len(of_project)} | {covered} | {100 * covered / len(of_project):.0f} |")
    yield "\n".join(summary)
    for project, title in TITLES.items():
        of_project = [each for each in templates if each.project == project]
        rows = [f"| {each.name} | {_shown(each)} |" for each in of_project]
        yield "\n".join([f"### {title}", "", "| device | type, or why there is none |", "| --- | --- |", *rows])


def _shown(template: Template) -> str:
    return ", ".join(f"[`{name}`](#{name})" for name in template.types) or template.reason
