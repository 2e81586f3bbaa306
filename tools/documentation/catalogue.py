"""Write docs/catalogue.md from the catalogue: `python -m tools.documentation.catalogue docs/catalogue.md`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from emm_pipeline.catalog.loader import load_catalogue
from emm_pipeline.catalog.vocabulary import VOCABULARY
from emm_pipeline.cli.showing.register_tables import combined_line
from emm_pipeline.config_db.editing.register_rows import SETTING_COLUMNS
from emm_pipeline.fleet import Order
from emm_pipeline.modbus.planning import plan_requests
from emm_pipeline.modbus.sunspec.models import has_models, locate
from tools.catalogue.coverage import load_templates, tables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from emm_pipeline.catalog.records import CatalogueType, Identification
    from emm_pipeline.fleet import MeterType
    from emm_pipeline.readings import Request

_INTRODUCTION = """\
# Catalogue of device types

The catalogue contains the register tables of known meters, inverters, hybrids, batteries and chargers, one file per
device type: `emm_pipeline/catalog/<type>.csv`, with the columns of the table `registers`. `emm types list` searches it
(`emm types list sungrow --kind hybrid`). A row is left out, with a note, if sources disagree or if only one of them has
it. No type was tested on a device by this project: before you rely on a type, compare the output of
`emm poll ID --dry-run` with the display of the device.

**Sources.** The facts of the sources (project, commit, device, function, address, data type, order, scale, unit,
invalid value) are in `tools/catalogue/facts`, and `python -m tools.catalogue check [TYPE]` compares every row with
them: at least two independent sources agree, or a test fails. Two files of one project are one source, and so are
projects that copy from one another. A vendor's own document is a source. Signs are compared with evcc, whose convention
is that of this page, and those of battery and grid power were compared by hand with openWB and Tinkerforge. The
definitions of SunSpec's models and a project that implements them count as two sources. For the models 701, 713, 714
and 802, and the temperature of 101 to 113, the only implementation is the table of OpenEMS, which is generated from
the definitions: these rows are right if the definitions are, but were not read by two people. `zeversolar` has the
registers of this project's own virtual server.

**Other series.** A series with the same registers is an alias of a type, not a copy. For a type that is in your
database, nothing changes until you run `emm types install`; `emm types diff` shows what would change, and warns of
series that would end or get other values.

This page is generated from the files by `make catalogue`, and a test compares it with them.

The head of a file says what the device is (`kind`: meter, inverter, hybrid, battery or charger), its maker (`vendor`),
how it is reached (`interfaces`: RS485 needs a gateway or a serial port), the vendor's document, the sources, and
properties of the type:

    # identify: 3 11 4 = 1648..1653        a code that only this type has: function, address, data type
    # identify: 4 70 3 2 2 in 45..65       a plausible value, with word and byte order; raw, before scaling
    # max_registers_per_request: 80        a limit of the device, as in the table meter_types

A device of the type meets all `identify` lines. The addresses of rows with a `model` count from the first register of
that SunSpec model; a poll finds the model on the device."""

_COVERAGE = """\
## Coverage

What other projects can read, and the types here that read the same devices."""

_VOCABULARY = """\
## Measurements

Every device type uses the same name and unit for a quantity. A single-phase device measures L1.

Signs: power at the grid connection is positive while energy is imported, the power of an inverter while it generates,
the power of a battery while it discharges, the power of a charger while a vehicle charges."""


def document() -> str:
    """Return the text of docs/catalogue.md."""
    types = load_catalogue().values()
    return "\n\n".join(
        [
            _INTRODUCTION,
            "## Types",
            _table(("type", "device", "kind", "measurements", "requests"), [_overview(entry) for entry in types]),
            *("\n\n".join(_section(entry)) for entry in types),
            _COVERAGE,
            *tables(load_templates()),
            _VOCABULARY,
            _table(
                ("measurement", "unit", "meaning"),
                [(f"`{name}`", quantity.unit or "", quantity.meaning) for name, quantity in VOCABULARY.items()],
            ),
            "",
        ]
    ).removesuffix("\n")


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _overview(entry: CatalogueType) -> tuple[str, ...]:
    link = f"[`{entry.name}`](#{entry.name})"
    return link, entry.title, entry.kind, str(_measurements(entry)), str(len(_requests(entry)))


def _measurements(entry: CatalogueType) -> int:
    return sum(register.stored for register in entry.registers) + len(entry.meter_type.combined)


def _section(entry: CatalogueType) -> Iterator[str]:
    yield f"### {entry.name}"
    yield f"{entry.title}. Vendor: {entry.vendor}. Document: {entry.document}."
    reached = f"A {entry.kind}, reached by {' or '.join(entry.interfaces)}; {_word_order(entry)}."
    yield f"{reached} Also: {', '.join(entry.aliases)}." if entry.aliases else reached
    yield "\n".join(["Sources:", *_items(entry.sources)])
    if entry.notes:
        yield "\n".join(["Notes:", *_items(entry.notes)])
    if entry.identifications:
        yield "\n".join(["Identified by:", *_items(_identification(line) for line in entry.identifications)])
    if entry.meter_type.combined:
        yield "\n".join(["Computed:", *_items(f"`{combined_line(each)}`" for each in entry.meter_type.combined)])
    place = ", counted from the model's first register" if has_models(entry.meter_type) else ""
    heading = f"Requests{place}{_limits(entry.meter_type)}:"
    yield "\n".join([heading, *_items(_request(request) for request in _requests(entry))])


def _word_order(entry: CatalogueType) -> str:
    orders = {register.word_order for register in entry.meter_type.measured if register.words > 1}
    if not orders:
        return "all values have 16 bits"
    if len(orders) > 1:
        return "the word order differs from row to row"
    return "high word first" if orders == {Order.BIG_ENDIAN} else "low word first"


def _requests(entry: CatalogueType) -> tuple[Request, ...]:
    """The requests that read the type. The addresses of a SunSpec model are counted from its first register."""
    return plan_requests(locate(entry.meter_type, {r.model: 0 for r in entry.registers if r.model is not None}))


def _items(texts: Iterator[str] | tuple[str, ...]) -> Iterator[str]:
    return (f"- {text}" for text in texts)


def _request(request: Request) -> str:
    return f"{request}, {request.count} registers" if request.count > 1 else str(request)


def _limits(meter_type: MeterType) -> str:
    default = type(meter_type)(meter_type.name)
    given = [
        f"{setting} {_setting(getattr(meter_type, setting))}"
        for setting in SETTING_COLUMNS
        if getattr(meter_type, setting) != getattr(default, setting)
    ]
    return f" ({', '.join(given)})" if given else ""


def _setting(value: float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}"


def _identification(identification: Identification) -> str:
    register = identification.register
    where = f"function {register.function_code:d}, register {register.register_address}, {register.data_type.name}"
    low, high = (f"{limit:.15g}" for limit in (identification.low, identification.high))
    values = low if low == high else f"{low} to {high}"
    return f"{where}: {values}" + ("" if identification.strong else " (plausible)")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(document(), encoding="utf-8")
