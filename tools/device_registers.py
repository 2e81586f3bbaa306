"""Count the registers of public device maps that can be rows of `registers`, and the reasons why others cannot.

    python -m tools.device_registers [FILE]

FILE is a gzipped CSV file with the columns source, device, name, function_code, address, encoding, word_order,
byte_order, scale, offset, not_expressible_because; without it, tools/data/device-registers.csv.gz is read: the
registers of 572 device definitions of 17 public projects (evcc, mbmd, OpenEMS, and others), as they were in 2026. The
last column is the reason why a register could not be a row before EMM had masks, offsets and other further columns.
This script writes the row with these columns, and the checks of the configuration database must accept it.

An address that a source computes counts as 0 here, and a half that is elsewhere as 1000 registers further on: the
result does not depend on them.
"""

from __future__ import annotations

import csv
import gzip
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emm_pipeline.config_db.validation import check_rows
from emm_pipeline.fleet import DataType

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

FILE = Path(__file__).parent / "data" / "device-registers.csv.gz"

NO_MODBUS = "not Modbus"

NOT_MEASURED = (
    "string",
    "bit/mask",
    "date/time",
    "array/time",
    "structure",
    "function code 1/2",
    "type ",
    *("4 registers", "5 registers", "12 registers"),
)
"""Beginnings of the reasons that concern texts, states, faults, clocks and coils, not measured values."""

NOT_COUNTED = "derived"
"""Values that a source computes from others: they are not registers. Sums are rows of `combined_measurements`."""

_LENGTHS = {f"type {words}": words for words in (2, 4, 8, 10, 32, 64)}
"""SolarNetwork's texts, by their number of registers."""

_NUMBERED = {
    "UINT16": 4,
    "UINT32": 5,
    "INT": 1,
    "LONG": 2,
    "FLOAT": 3,
    "INT64": 6,
    "UINT64": 7,
    "FLOAT64": 8,
    "BOOL": 9,
}


@dataclass(slots=True)
class Device:
    """A device definition: its registers, and which of them cannot be expressed."""

    registers: int = 0
    expressed: int = 0
    lost_values: list[str] = field(default_factory=list)
    lost_others: list[str] = field(default_factory=list)
    is_modbus: bool = True


def read_rows(file: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a file."""
    with gzip.open(file, "rt", encoding="utf-8", newline="") as lines:
        yield from csv.DictReader(lines)


def columns_of(row: Mapping[str, str]) -> list[dict[str, Any]] | None:
    """Return the rows of `registers` that describe a device's register; None if it cannot be described.

    Usually this is one row. A value whose digits or words are in several places needs several rows and a sum.
    """
    reason, encoding = row["not_expressible_because"], row["encoding"]
    plain = {
        "type": "t",
        "register_address": int(row["address"]) if row["address"].isdecimal() else 0,
        "measurement_name": "value",
        "data_type": _NUMBERED.get(encoding, int(DataType.UINT16)),
        "function_code": int(row["function_code"]) if row["function_code"] in {"1", "2", "3", "4"} else 3,
        "word_order": int(row["word_order"] or 2),
        "byte_order": int(row["byte_order"] or 2),
        "scale": row["scale"] if float(row["scale"] or 0) else None,
    }
    if not reason:
        return [plain]
    further = _further(reason, encoding, row)
    return None if further is None else [plain | each for each in further]


def _further(reason: str, encoding: str, row: Mapping[str, str]) -> list[dict[str, Any]] | None:
    """Return the columns to add to the plain row, for the reason why the plain row is not enough."""
    if reason == "string" and encoding != "VERSION":
        return [{"data_type": int(DataType.STRING), "length": 8, "scale": None}]
    if reason in _LENGTHS and row["name"].startswith("Info"):
        return [{"data_type": int(DataType.STRING), "length": _LENGTHS[reason], "scale": None}]
    known: dict[str, list[dict[str, Any]]] = {
        "offset": [{"value_offset": float(row["offset"] or 0) or -100.0}],
        "bit/mask": [{"mask": 0b10}],
        "8-bit part": [{"mask": 0xFF00}],
        "element Byte": [{"mask": 0x00FF}],
        "function code 1/2": [{"data_type": int(DataType.BOOL), "scale": None}],
        "structure (I32AbsoluteValue)": [{"data_type": int(DataType.LONG), "absolute": True}],
        "sign-magnitude": [_sign_magnitude(encoding, row)],
        "registers not next to each other": _apart(encoding, row),
        "several registers with own scales": [
            {"measurement_name": f"part{place}", "scale": 10_000.0**place, "stored": False} for place in range(3)
        ],
    }
    return known.get(reason)


def _sign_magnitude(encoding: str, row: Mapping[str, str]) -> dict[str, Any]:
    """Return the columns for sign and magnitude: a data type for 16 bits, a sign bit in the first register for 32."""
    if encoding == "INT":
        return {"data_type": int(DataType.SIGN_MAGNITUDE)}
    sign = {"sign_register": int(row["address"]), "sign_mask": 0x8000} if row["address"].isdecimal() else {}
    return {"data_type": int(DataType.UINT32), "mask": 0x7FFF_FFFF, **sign}


def _apart(encoding: str, row: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the rows for a value in several places: one row for two halves, the parts of a sum for four words."""
    address = int(row["address"]) if row["address"].isdecimal() else 0
    if encoding == "UINT64":
        return [
            {"measurement_name": f"part{place}", "data_type": 4, "scale": 65536.0**place, "stored": False}
            for place in range(4)
        ]
    return [{"high_register_address": address + 1000}]


def is_expressed(row: Mapping[str, str]) -> bool:
    """Whether rows of `registers`, with a sum if there are several, describe the register."""
    rows = columns_of(row)
    if rows is None:
        return False
    names = [each["measurement_name"] for each in rows]
    sums = [{"type": "t", "measurement_name": "value", "part": name} for name in names] if len(rows) > 1 else []
    return not check_rows((), rows, (), sums).issues


def is_measured(row: Mapping[str, str]) -> bool:
    """Whether the register holds a measured value, not a text, a state, a fault, a clock or a coil."""
    reason = row["not_expressible_because"]
    if reason == "structure (I32AbsoluteValue)" or (reason in _LENGTHS and not row["name"].startswith("Info")):
        return True
    return not reason.startswith(NOT_MEASURED) and "string" not in reason


def judge(rows: Iterable[Mapping[str, str]]) -> dict[tuple[str, str], Device]:
    """Return the devices by source and name."""
    devices: dict[tuple[str, str], Device] = defaultdict(Device)
    for row in rows:
        device = devices[row["source"], row["device"]]
        reason = row["not_expressible_because"]
        if reason.startswith(NO_MODBUS):
            device.is_modbus = False
        if reason == NOT_COUNTED:
            continue
        device.registers += 1
        if is_expressed(row):
            device.expressed += 1
        elif is_measured(row):
            device.lost_values.append(f"{reason}: {row['name']}")
        else:
            device.lost_others.append(reason)
    return dict(devices)


def percent_complete(devices: Mapping[tuple[str, str], Device]) -> float:
    """Return the percentage of the Modbus devices of which every measured value can be read."""
    modbus = [device for device in devices.values() if device.is_modbus]
    return 100 * sum(not device.lost_values for device in modbus) / len(modbus)


def coverage(devices: Mapping[tuple[str, str], Device], reasons: Mapping[str, tuple[int, int]]) -> Iterator[str]:
    """Yield the lines of the report: by source, by reason, and the devices with values that cannot be read."""
    yield f"{'source':24}{'devices':>9}{'registers':>11}{'expressed':>11}{'%':>7}{'all':>6}{'measured':>10}  partly"
    by_source: dict[str, list[Device]] = defaultdict(list)
    for (source, _), device in devices.items():
        by_source[source].append(device)
    for source, of_source in [*sorted(by_source.items()), ("sum", list(devices.values()))]:
        registers, expressed = (sum(getattr(each, name) for each in of_source) for name in ("registers", "expressed"))
        everything = sum(not each.lost_values and not each.lost_others for each in of_source)
        partly = sum(bool(each.lost_values) for each in of_source)
        counts = f"{everything:6}{len(of_source) - everything - partly:10}{partly:8}"
        percent = 100 * expressed / max(registers, 1)
        yield f"{source:24}{len(of_source):9}{registers:11}{expressed:11}{percent:7.1f}{counts}"
    yield f"\n{'reason':60}{'registers':>11}{'expressed':>11}"
    for reason, (registers, expressed) in sorted(reasons.items(), key=lambda each: -each[1][0]):
        yield f"{reason or '(a plain row)':60}{registers:11}{expressed:11}"
    lost = [
        (source, name, each.lost_values)
        for (source, name), each in devices.items()
        if each.is_modbus and each.lost_values
    ]
    modbus = sum(device.is_modbus for device in devices.values())
    yield f"\n{modbus - len(lost)} of {modbus} device definitions that speak Modbus have every measured value"
    yield f"{percent_complete(devices):.1f} %"
    for source, name, values in sorted(lost):
        yield f"not: {source} {name or '(no name)'}, {len(values)} values such as {', '.join(sorted(values)[:3])}"


def count_reasons(rows: Iterable[Mapping[str, str]]) -> dict[str, tuple[int, int]]:
    """Return by reason how many registers have it, and how many of them can be expressed."""
    registers: Counter[str] = Counter()
    expressed: Counter[str] = Counter()
    for row in rows:
        reason = row["not_expressible_because"]
        registers[reason] += 1
        expressed[reason] += reason != NOT_COUNTED and is_expressed(row)
    return {reason: (number, expressed[reason]) for reason, number in registers.items()}


def main() -> None:
    """Print the coverage of the file that the command line names."""
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    rows = list(read_rows(file))
    for line in coverage(judge(rows), count_reasons(rows)):
        sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main()
