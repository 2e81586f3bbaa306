"""How many devices of other projects the catalogue covers: the tables of docs/catalogue.md.

`templates.csv` names, for each meter template of evcc with Modbus, each type of mbmd and each meter of OpenEMS, the
types that read such a device, or the reason why there is none. With both, the types read a part: the reason says what
they do not read, and the device does not count as covered.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tools.catalogue.facts import FOLDER, load_facts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from emm_pipeline.catalog import CatalogueType

TITLES = {
    "evcc": "Meter templates of evcc with Modbus",
    "mbmd": "Types of mbmd",
    "openems": "Meters of OpenEMS",
}


@dataclass(frozen=True, slots=True)
class Template:
    """A device of another project: the types that read it, and the reason why they do not read it, or not all of it."""

    project: str
    name: str
    types: tuple[str, ...]
    reason: str

    @property
    def is_covered(self) -> bool:
        """Whether the types read power, and what else the project needs of such a device."""
        return bool(self.types) and not self.reason


HEADLINES = {
    "grid power": {"gridPower", "activePower of a meter"},
    "pv power": {"dcPower", "activePower"},
    "battery power": {"batteryPower"},
    "battery soc": {"batterySoc"},
    "power": {"activePower", "activePowerL1", "batteryPower", "dcPower"},
    "soc": {"batterySoc"},
}
"""The quantities of facts that evcc needs of a device, with the measurements of which one contains it."""


def missing_headlines(template: Template, catalogue: Mapping[str, CatalogueType]) -> list[str]:
    """Return the quantities that evcc reads of a device and that none of its types measures."""
    types = [catalogue[name] for name in template.types]
    measured = {register.measurement_name for entry in types for register in entry.registers}
    measured |= {each.measurement_name for entry in types for each in entry.meter_type.combined}
    if any(entry.kind == "meter" for entry in types):
        measured.add("activePower of a meter")
    quantities = {fact.quantity for fact in load_facts("evcc").get(template.name, ())}
    return sorted(each for each in quantities & set(HEADLINES) if not HEADLINES[each] & measured)


def load_templates() -> list[Template]:
    """Return the devices of other projects in the order of the file."""
    with (FOLDER / "templates.csv").open(encoding="utf-8", newline="") as lines:
        return [
            Template(row["project"], row["template"], tuple(row["types"].split()), row["reason"])
            for row in csv.DictReader(lines)
        ]


def tables(templates: Sequence[Template]) -> Iterator[str]:
    """Yield the section in Markdown: a summary, then for each project what is covered and what is not."""
    summary = ["| project | devices | covered | % | partly |", "| --- | ---: | ---: | ---: | ---: |"]
    for project, title in TITLES.items():
        of_project = [each for each in templates if each.project == project]
        covered = sum(each.is_covered for each in of_project)
        partly = sum(bool(each.types) for each in of_project) - covered
        share = f"{100 * covered / len(of_project):.0f}"
        summary.append(f"| {title} | {len(of_project)} | {covered} | {share} | {partly} |")
    yield "\n".join(summary)
    for project, title in TITLES.items():
        of_project = [each for each in templates if each.project == project]
        rows = [f"| {each.name} | {_shown(each)} |" for each in of_project]
        yield "\n".join([f"### {title}", "", "| device | type, or why there is none |", "| --- | --- |", *rows])


def _shown(template: Template) -> str:
    types = ", ".join(f"[`{name}`](#{name})" for name in template.types)
    return f"partly {types}: {template.reason}" if types and template.reason else types or template.reason
