"""How `emm meters check` shows what it found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.markup import escape

from emm_pipeline.cli.showing.interpretations import new_table
from emm_pipeline.cli.showing.tables import console, shown
from emm_pipeline.commissioning.checking import AD_HOC_ID, MeterCheck, RegisterCheck
from emm_pipeline.modbus.messages import advise
from emm_pipeline.readings import FailureKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from emm_pipeline.modbus.session import Reply


MOST_NAMES = 6
"""Of registers that failed alike."""


def print_check(check: MeterCheck) -> None:
    """Print a meter's registers and requests, and beneath what failed and what to do about it."""
    meter = check.meter
    print(f"{meter if meter.id != AD_HOC_ID else f'{meter.address} unit {meter.unit_id}'}, type {meter.type}")
    if check.connected_s is not None:
        print(f"connected to {meter.gateway.name} in {check.connected_s * 1000:.0f} ms\n")
    if check.registers:
        _print_registers(check)
    if check.requests:
        _print_requests(check)
    _print_what_to_do(check)


def _print_registers(check: MeterCheck) -> None:
    table = new_table(
        *("measurement", "function", "address", "value", "unit", "raw", "ms", ""),
        right=("function", "address", "value", "ms"),
    )
    for each in check.registers:
        register = each.register
        table.add_row(
            escape(register.measurement_name),
            str(int(register.function_code)),
            str(register.register_address),
            "" if each.value is None else shown(each.value),
            escape(register.data_unit or ""),
            _hexadecimal(each.reply),
            _milliseconds(each.reply),
            _remark(each),
        )
    console().print(table)
    print()


def _remark(each: RegisterCheck) -> str:
    if not each.reply.words:
        return f"[bold red]{escape(each.reply.reason)}[/]"
    if each.value is None:
        return "[yellow]the device has no value[/]"
    return "[yellow]of unusual size: check data type and order[/]" if each.is_odd else ""


def _print_requests(check: MeterCheck) -> None:
    table = new_table("requests of a poll", "registers", "ms", "", right=("registers", "ms"))
    for request, reply in check.requests:
        said = "" if reply.words else f"[bold red]{escape(reply.reason)}[/]"
        table.add_row(str(request), str(request.count), _milliseconds(reply), said)
    console().print(table)
    print()


def _print_what_to_do(check: MeterCheck) -> None:
    if check.failure:
        print(f"failed: {check.failure}\n  {advise(check.failure.kind, check.failure.exception_code)}")
    failed = [each for each in check.registers if not each.reply.words]
    for reason in dict.fromkeys(each.reply.reason for each in failed):
        alike = [each for each in failed if each.reply.reason == reason]
        print(f"failed: {reason} for {_names(alike)}\n  {_advice(alike[0].reply)}")
    if not failed and any(not reply.words for _, reply in check.requests):
        print(
            "failed: registers that can be read singly cannot be read together. A poll sends more requests for them;\n"
            f"  to avoid that, set max_registers_per_request or max_gap of type {check.meter.type} in meter_types"
        )
    odd = [each for each in check.registers if each.is_odd]
    if odd:
        first = odd[0].register
        print(
            f"unusual: {_names(odd)}. To find the right type and order:\n"
            f"  emm read {check.meter.address} --unit {check.meter.unit_id} --fc {first.function_code:d} "
            f"--address {first.register_address} --count {first.count} --expect VALUE"
        )
    if check.remark:
        print(check.remark)
    if check.left_out:
        print(f"{check.left_out} more registers were not read")
    print(f"{'OK' if check.ok else 'FAILED'}: {_summary(check)}\n")


def _names(checks: Sequence[RegisterCheck]) -> str:
    names = [each.register.measurement_name for each in checks]
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _summary(check: MeterCheck) -> str:
    read = sum(bool(each.reply.words) for each in check.registers)
    joined = sum(bool(reply.words) for _, reply in check.requests)
    return (
        f"{read} of {len(check.meter_type.registers)} registers read one by one"
        f", {joined} of {len(check.requests)} requests of a poll answered"
    )


def _advice(reply: Reply) -> str:
    return advise(reply.kind or FailureKind.TIMEOUT, reply.exception_code)


def _hexadecimal(reply: Reply) -> str:
    return " ".join(f"{word:04X}" for word in reply.words)


def _milliseconds(reply: Reply) -> str:
    return f"{reply.seconds * 1000:.0f}"


def to_json(checks: Sequence[MeterCheck], unreadable: Mapping[int, str]) -> dict[str, Any]:
    """Return everything that was found, as JSON's types."""
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
        "what_to_do": advise(check.failure.kind, check.failure.exception_code) if check.failure else None,
        "registers": [
            {
                "measurement": each.register.measurement_name,
                "function_code": int(each.register.function_code),
                "address": each.register.register_address,
                "value": each.value,
                "data_unit": each.register.data_unit,
                "odd": each.is_odd,
                **_reply_as_json(each.reply),
            }
            for each in check.registers
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
        "remark": check.remark,
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
