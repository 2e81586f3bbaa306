"""Notes of a check, about what a poll copes with: refused gaps, slow replies, values that the device lacks (pure)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from emm_pipeline.commissioning.check_results import AD_HOC_ID, MeterCheck, Note
from emm_pipeline.config_db.validation.meter_types import MAX_TIMEOUT_S
from emm_pipeline.modbus.exception_codes import describe
from emm_pipeline.modbus.splitting import explain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from emm_pipeline.commissioning.check_results import RegisterCheck

MOST_NAMES = 6
"""Maximum number of registers that are named in one line."""

SLOW = 0.5
"""The part of the timeout beyond which a reply is slow."""


def notes_of(check: MeterCheck) -> list[Note]:
    """Return the notes about a check that has ended."""
    return [
        *_about_refusals(check),
        *_about_slow_replies(check),
        *_about_registers(check),
        *map(Note, check.notices),
        *([Note(check.remark)] if check.remark else []),
    ]


def names_of(checks: Sequence[RegisterCheck]) -> str:
    """Return the names of registers in one line: the first ones, and the number of the others."""
    names = [each.register.measurement_name for each in checks]
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _about_refusals(check: MeterCheck) -> Iterator[Note]:
    """Yield what the smaller requests have shown: gaps that the device refuses, or the most registers it sends."""
    set_command = f"emm types set {check.meter.type}"
    cause = explain([each.tracked for each in check.planned])
    values = check.meter_type.registers
    gaps = {code for request, code in cause.ranges if not any(map(request.covers, values))}
    if gaps:
        codes = " and ".join(describe(code) for code in sorted(gaps))
        text = (
            f"the device refuses registers between those of its type ({codes}). A poll reads around them, with smaller "
            "requests; to send only these:"
        )
        yield Note(text, f"{set_command} max_gap=0")
    if cause.most_registers:
        text = (
            f"the device sends at most {cause.most_registers} registers together. A poll sends more requests; to send "
            "only these:"
        )
        yield Note(text, f"{set_command} max_registers_per_request={cause.most_registers}")


def longer_timeout_s(slowest_s: float, timeout_s: float) -> float | None:
    """Return the timeout that a device with such replies needs; None if the present one is right or the longest."""
    longer_s = min(math.ceil(2 * slowest_s + 1), MAX_TIMEOUT_S)
    return longer_s if slowest_s > SLOW * timeout_s and longer_s > timeout_s else None


def _about_slow_replies(check: MeterCheck) -> Iterator[Note]:
    timeout_s = check.meter_type.timeout_s
    if check.slowest_s <= SLOW * timeout_s:
        return
    longer_s = longer_timeout_s(check.slowest_s, timeout_s)
    text = f"warning: the slowest reply took {check.slowest_s:.2g} s of the {timeout_s:g} s that EMM waits for it."
    if longer_s is None:
        yield Note(text)
    else:
        yield Note(f"{text} To wait longer:", f"emm types set {check.meter.type} timeout_s={longer_s}")


def _about_registers(check: MeterCheck) -> Iterator[Note]:
    refused = [each for each in check.registers if each.failure and check.copes_with(each)]
    together = [each for each in refused if check.is_read_by_poll(each.register)]
    labels = [each for each in refused if each.is_label and each not in together]
    accepted = [each for each in refused if not each.is_label and each not in together]
    if together:
        yield Note(f"read together with other registers only: {names_of(together)}")
    if labels:
        yield Note(f"labels that the device does not have: {names_of(labels)}")
    if accepted:
        yield Note(f"refused, and accepted as absent: {names_of(accepted)}")
    empty = [each for each in check.registers if each.is_empty and each.register.stored]
    if missing := [each for each in empty if each.register.measurement_name not in check.accepted]:
        text = f"the device has no value for {names_of(missing)}."
        if check.meter.id == AD_HOC_ID:
            yield Note(f"{text} Once the meter is added, you can accept that it never has.")
        else:
            yield Note(f"{text} If it never has:", f"emm registers accept-absent {check.meter.id}")
