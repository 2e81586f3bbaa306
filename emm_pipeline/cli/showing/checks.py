"""Output of `emm meters check`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emm_pipeline.cli.links import link_of
from emm_pipeline.cli.output import say
from emm_pipeline.cli.showing.tables import print_table, shown, styled
from emm_pipeline.commissioning.checking import AD_HOC_ID, MeterCheck, RegisterCheck
from emm_pipeline.modbus.messages import advise
from emm_pipeline.readings import FailureKind
from emm_pipeline.stores.texts import number_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.text import Text

    from emm_pipeline.modbus.session import Reply
    from emm_pipeline.modbus.transport.base import TransportError


MOST_NAMES = 6
"""Maximum number of names shown of registers that failed for the same reason."""


def print_check(check: MeterCheck) -> None:
    """Print a meter's registers and requests, then the failures and what to do about them."""
    meter = check.meter
    say(f"{meter if meter.id != AD_HOC_ID else f'{meter.address} unit {meter.unit_id}'}, type {meter.type}")
    if check.connected_s is not None:
        say(f"connected to {meter.gateway.name} in {check.connected_s * 1000:.0f} ms\n")
    if check.registers:
        _print_registers(check)
    if check.sums:
        _print_sums(check)
    if check.requests:
        _print_requests(check)
    _print_what_to_do(check)


def _print_registers(check: MeterCheck) -> None:
    rows = (
        (
            *(each.register.measurement_name, int(each.register.function_code), each.register.register_address),
            *(each.text if each.value is None else shown(each.value), each.register.data_unit),
            *(_hexadecimal(each.reply), _milliseconds(each.reply), _remark(each)),
        )
        for each in check.registers
    )
    headers = ("measurement", "function", "address", "value", "unit", "raw", "ms", "")
    print_table(headers, rows, right=("function", "address", "value", "ms"))
    say()


def _print_sums(check: MeterCheck) -> None:
    rows = (
        (each.name, None if each.value is None else shown(each.value), each.unit, styled(each.reason or "", "yellow"))
        for each in check.sums
    )
    print_table(("combined", "value", "unit", ""), rows, right=("value",))
    say()


def _remark(each: RegisterCheck) -> Text | None:
    if not each.reply.words:
        return styled(each.reply.reason, "bold red")
    if each.value is None and not each.text:
        return styled("the device has no value", "yellow")
    return styled(each.implausible, "yellow") if each.implausible else None


def _print_requests(check: MeterCheck) -> None:
    rows = (
        (request, request.count, _milliseconds(reply), None if reply.words else styled(reply.reason, "bold red"))
        for request, reply in check.requests
    )
    print_table(("requests of a poll", "registers", "ms", ""), rows, right=("registers", "ms"))
    say()


def _print_what_to_do(check: MeterCheck) -> None:
    if check.failure:
        say(f"failed: {check.failure}\n  {_advice_on(check.failure)}")
    failed = [each for each in check.registers if not each.reply.words]
    for reason in dict.fromkeys(each.reply.reason for each in failed):
        alike = [each for each in failed if each.reply.reason == reason]
        say(f"failed: {reason} for {_names(alike)}\n  {_advice(alike[0].reply)}")
    if not failed and any(not reply.words for _, reply in check.requests):
        say(
            "failed: some registers can be read singly but not together. A poll sends more requests for them;\n"
            f"  to avoid that, set max_registers_per_request or max_gap of type {check.meter.type} in meter_types"
        )
    odd = [each for each in check.registers if each.is_odd]
    if odd:
        first = odd[0].register
        say(
            f"unusual: {_names(odd)}. To find the right type and order:\n"
            f"  emm read {check.meter.address} --unit {check.meter.unit_id} --fc {first.function_code:d} "
            f"--address {first.register_address} --count {first.count}{link_of(check.meter.gateway)} --expect VALUE"
        )
    for notice in check.notices:
        say(notice)
    for row, why in check.meter_type.unusable:
        say(f"misconfigured: {row}: {why}")
    if check.remark:
        say(check.remark)
    if check.left_out:
        say(f"{check.left_out} more registers were not read")
    say(f"{'OK' if check.ok else 'FAILED'}: {_summary(check)}\n")


def _names(checks: Sequence[RegisterCheck]) -> str:
    names = [each.register.measurement_name for each in checks]
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _summary(check: MeterCheck) -> str:
    read = sum(bool(each.reply.words) for each in check.registers)
    joined = sum(bool(reply.words) for _, reply in check.requests)
    unusable = len(check.meter_type.unusable)
    rows = f", {number_of(unusable, 'row')} of the table registers cannot be used" if unusable else ""
    return (
        f"{read} of {len(check.meter_type.registers)} registers read one by one"
        f", {joined} of {len(check.requests)} requests of a poll answered{rows}"
    )


def _advice(reply: Reply) -> str:
    return reply.advice or advise(reply.kind or FailureKind.TIMEOUT, reply.exception_code)


def _advice_on(failure: TransportError) -> str:
    return failure.advice or advise(failure.kind, failure.exception_code)


def _hexadecimal(reply: Reply) -> str:
    return " ".join(f"{word:04X}" for word in reply.words)


def _milliseconds(reply: Reply) -> str:
    return f"{reply.seconds * 1000:.0f}"


def to_json(checks: Sequence[MeterCheck], unreadable: Mapping[int, str]) -> dict[str, Any]:
    """Return the results of the checks as types that JSON has."""
    return {
        "ok": not unreadable and all(check.ok for check in checks),
        "meters": [_check_as_json(check) for check in checks],
        "unreadable": [{"id": meter_id, "reason": reason} for meter_id, reason in unreadable.items()],
    }


def _check_as_json(check: MeterCheck) -> dict[str, Any]:
    meter = check.meter
    return {
        "id": None if meter.id == AD_HOC_ID else meter.id,
        "host": meter.host,
        "port": meter.port,
        "unit": meter.unit_id,
        "type": meter.type,
        "ok": check.ok,
        "error": str(check.failure) if check.failure else None,
        "what_to_do": _advice_on(check.failure) if check.failure else None,
        "registers": [
            {
                "measurement": each.register.measurement_name,
                "function_code": int(each.register.function_code),
                "address": each.register.register_address,
                "value": each.value,
                "text": each.text,
                "data_unit": each.register.data_unit,
                "odd": each.is_odd,
                **_reply_as_json(each.reply),
            }
            for each in check.registers
        ],
        "combined": [
            {"measurement": each.name, "value": each.value, "data_unit": each.unit, "reason": each.reason}
            for each in check.sums
        ],
        "requests": [
            {
                "function_code": int(request.function_code),
                "address": request.address,
                "count": request.count,
                **_reply_as_json(reply),
            }
            for request, reply in check.requests
        ],
        "misconfigured": [{"row": row, "reason": why} for row, why in check.meter_type.unusable],
        "remark": check.remark,
        "notices": check.notices,
        "left_out": check.left_out,
    }


def _reply_as_json(reply: Reply) -> dict[str, Any]:
    failed = not reply.words
    return {
        "words": list(reply.words),
        "seconds": round(reply.seconds, 4),
        "error": reply.reason if failed else None,
        "exception_code": reply.exception_code,
        "what_to_do": _advice(reply) if failed else None,
    }
