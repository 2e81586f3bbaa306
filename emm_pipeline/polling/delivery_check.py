"""Find the configured registers that a meter reading did not deliver, or whose values cannot be right (pure)."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from emm_pipeline.modbus.exception_codes import describe
from emm_pipeline.plausibility import implausible_values
from emm_pipeline.status import RegisterIssue, RegisterIssueKind

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import pandas as pd

    from emm_pipeline.fleet import MeterType
    from emm_pipeline.readings import MeterReading

NOTHING: Mapping[int, Collection[str]] = {}


def register_issues(
    readings: Sequence[MeterReading],
    frame: pd.DataFrame,
    types: Mapping[str, MeterType],
    accepted: Mapping[int, Collection[str]] = NOTHING,
    fallen: Mapping[int, Sequence[RegisterIssue]] = MappingProxyType({}),
) -> dict[int, tuple[RegisterIssue, ...]]:
    """Return, by meter id, the registers that did not deliver; meters that were not read completely are left out.

    Args:
        readings: One per meter.
        frame: Their values, in the same order, with the columns of `readings.READING_COLUMNS`.
        types: Their meter types by name.
        accepted: The measurements whose absence a person has accepted, by meter id.
        fallen: The counters that fell, by meter id.
    """
    rows = _rows_of(frame)
    implausible = {meter_id: list(issues) for meter_id, issues in fallen.items()}
    ids = frame["id"].to_numpy()
    for value in implausible_values(frame):
        issue = RegisterIssue(value.measurement, RegisterIssueKind.IMPLAUSIBLE, value.reason)
        implausible.setdefault(int(ids[value.row]), []).append(issue)
    needed = {name: (len(each.stored_series), bool(each.unusable)) for name, each in types.items()}
    found = {}
    for reading in readings:
        if reading.failure is not None or not reading.blocks:
            continue
        meter_id, type_name = reading.meter.id, reading.meter.type
        start, stop = rows.get(meter_id, (0, 0))
        wanted, has_unusable = needed[type_name]
        if stop - start >= wanted and meter_id not in implausible and not has_unusable:
            continue
        meter_type = types[type_name]
        issues = [RegisterIssue(name, RegisterIssueKind.MISCONFIGURED, why) for name, why in meter_type.unusable]
        if stop - start < wanted:
            present = set(frame["measurement"].iloc[start:stop])
            known = accepted.get(reading.meter.id, ())
            names = {name for name, _ in meter_type.stored_series}
            absent = sorted(names - present - set(known))
            issues += [_absent(name, reading, meter_type) for name in absent]
        issues += implausible.get(reading.meter.id, [])
        if issues:
            found[reading.meter.id] = tuple({issue.measurement: issue for issue in reversed(issues)}.values())[::-1]
    return found


def _rows_of(frame: pd.DataFrame) -> dict[int, tuple[int, int]]:
    """Return, by meter id, the first of its rows and the one after the last. A meter's rows follow each other."""
    ids = frame["id"].to_numpy()
    if not len(ids):
        return {}
    starts = np.flatnonzero(np.diff(ids, prepend=ids[0] - 1))
    stops = [*starts[1:].tolist(), len(ids)]
    return dict(zip(ids[starts].tolist(), zip(starts.tolist(), stops, strict=True), strict=True))


def _absent(name: str, reading: MeterReading, meter_type: MeterType) -> RegisterIssue:
    located = (reading.located_type or meter_type).registers
    registers = [register for register in located if register.measurement_name == name]
    for register in registers:
        for range_ in reading.unsupported:
            same_table = range_.function_code == register.function_code
            if same_table and range_.address < register.end and register.register_address < range_.end:
                reason = f"the device refuses it with {describe(range_.exception_code)}"
                return RegisterIssue(name, RegisterIssueKind.UNSUPPORTED, reason)
    if any(combined.measurement_name == name for combined in meter_type.combined):
        return RegisterIssue(name, RegisterIssueKind.ABSENT, "not all of its parts were read")
    if not registers:
        return RegisterIssue(name, RegisterIssueKind.UNSUPPORTED, "none of the device's SunSpec models has it")
    return RegisterIssue(name, RegisterIssueKind.ABSENT, "the device reports no value for it")
