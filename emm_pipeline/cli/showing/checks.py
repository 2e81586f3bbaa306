"""Output of `emm meters check`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emm_pipeline.cli.links import link_of
from emm_pipeline.cli.output import say
from emm_pipeline.cli.showing.tables import print_table, shown, styled
from emm_pipeline.commissioning.check_notes import names_of
from emm_pipeline.commissioning.check_results import AD_HOC_ID, MeterCheck, RegisterCheck, SentRequest
from emm_pipeline.modbus.messages import advise_on
from emm_pipeline.stores.texts import number_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.text import Text

    from emm_pipeline.modbus.session import Reply


MOST_REQUESTS = 3
"""Maximum number of requests that are named in one line."""


MOST_VALUES = 4
"""Number of values that are shown in brief."""


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
    if check.planned:
        _print_requests("requests of a poll", check.planned)
    if check.smaller:
        _print_requests("smaller requests in place of those", check.smaller)
    print_findings(check)
    say()


def _print_registers(check: MeterCheck) -> None:
    rows = (
        (
            *(each.register.measurement_name, int(each.register.function_code), each.register.register_address),
            *(each.text if each.value is None else shown(each.value), each.register.data_unit),
            *(_hexadecimal(each.reply), _milliseconds(each.reply), _remark(each)),
        )
        for each in check.registers
    )
    headers = ("measurement", "fc", "address", "value", "unit", "raw", "ms", "")
    print_table(headers, rows, right=("fc", "address", "value", "ms"), below=("", "raw"))
    say()


def _print_sums(check: MeterCheck) -> None:
    rows = (
        (each.name, None if each.value is None else shown(each.value), each.unit, styled(each.reason or "", "yellow"))
        for each in check.sums
    )
    print_table(("combined", "value", "unit", ""), rows, right=("value",))
    say()


def _remark(each: RegisterCheck) -> Text | None:
    if each.failure:
        return styled(each.failure.reason, "bold red")
    if each.is_empty:
        return styled("the device has no value", "yellow")
    return styled(each.implausible, "bold red") if each.implausible else None


def _print_requests(title: str, requests: Sequence[SentRequest]) -> None:
    rows = (
        (
            *(each.request, each.request.count, _milliseconds(each.reply)),
            None if each.reply.words else styled(each.reply.reason, "yellow"),
        )
        for each in requests
    )
    print_table((title, "registers", "ms", ""), rows, right=("registers", "ms"), below=("",))
    say()


def print_findings(check: MeterCheck) -> None:
    """Print what failed and what to do about it, then the notes, then the verdict."""
    if check.failure:
        say(f"failed: {check.failure}\n  {advise_on(check.failure)}")
    failed = [(each, each.failure) for each in check.failed_registers if each.failure]
    for reason in dict.fromkeys(reply.reason for _, reply in failed):
        alike = [(each, reply) for each, reply in failed if reply.reason == reason]
        advice = check.explanation or advise_on(alike[0][1])
        say(f"failed: {reason} for {names_of([each for each, _ in alike])}\n  {advice}")
    for reason in dict.fromkeys(each.reply.reason for each in check.failed_requests):
        requests = [each for each in check.failed_requests if each.reply.reason == reason]
        told = "; ".join(str(each.request) for each in requests[:MOST_REQUESTS])
        say(f"failed: {reason} for the request of a poll: {told}\n  {advise_on(requests[0].reply)}")
    if odd := check.implausible:
        first = odd[0].register
        say(
            f"failed: no meter measures the values of {names_of(odd)}. To find the right type and order:\n"
            f"  emm read {check.meter.address} --unit {check.meter.unit_id} --fc {first.function_code:d} "
            f"--address {first.register_address} --count {first.count}{link_of(check.meter.gateway)} --expect VALUE"
        )
    for row, why in check.meter_type.unusable:
        say(f"misconfigured: {row}: {why}")
    if check.left_out:
        say(f"{check.left_out} more registers were not read")
    for note in check.notes:
        say(f"note: {note.text}" + (f"\n  {note.remedy}" if note.remedy else ""))
    say(f"{check.verdict}: {summary_of(check)}")


def summary_of(check: MeterCheck) -> str:
    """Return in one line how much of a meter was read."""
    read = sum(not each.failure for each in check.registers)
    joined = sum(bool(each.reply.words) for each in check.planned)
    unusable = len(check.meter_type.unusable)
    rows = f", {number_of(unusable, 'row')} of the table registers cannot be used" if unusable else ""
    smaller = (
        f", {number_of(len(check.smaller), 'smaller request')} sent in place of the others" if check.smaller else ""
    )
    return (
        f"{read} of {len(check.meter_type.registers)} registers read one by one"
        f", {joined} of {len(check.planned)} requests of a poll answered{smaller}{rows}"
    )


def values_in_brief(check: MeterCheck) -> str:
    """Return the first values that are not zero, for a comparison with the meter's display; empty if there are none."""
    values = [each for each in check.registers if each.value and not each.implausible and each.register.stored]
    return ", ".join(
        f"{each.register.measurement_name} {shown(each.value or 0)} {each.register.data_unit or ''}".rstrip()
        for each in values[:MOST_VALUES]
    )


def _hexadecimal(reply: Reply) -> str:
    return " ".join(f"{word:04X}" for word in reply.words)


def _milliseconds(reply: Reply) -> str:
    return f"{reply.seconds * 1000:.0f}"


def to_json(checks: Sequence[MeterCheck], unreadable: Mapping[int, str]) -> dict[str, Any]:
    """Return the results of the checks as types that JSON has."""
    return {
        "ok": not unreadable and all(check.ok for check in checks),
        "meters": [as_json(check) for check in checks],
        "unreadable": [{"id": meter_id, "reason": reason} for meter_id, reason in unreadable.items()],
    }


def as_json(check: MeterCheck) -> dict[str, Any]:
    """Return the result of a check as types that JSON has."""
    meter = check.meter
    return {
        "id": None if meter.id == AD_HOC_ID else meter.id,
        "host": meter.host,
        "port": meter.port,
        "unit": meter.unit_id,
        "type": meter.type,
        "ok": check.ok,
        "verdict": check.verdict.value,
        "error": str(check.failure) if check.failure else None,
        "what_to_do": advise_on(check.failure) if check.failure else None,
        "registers": [
            {
                "measurement": each.register.measurement_name,
                "function_code": int(each.register.function_code),
                "address": each.register.register_address,
                "value": each.value,
                "text": each.text,
                "data_unit": each.register.data_unit,
                "odd": each.implausible is not None,
                "implausible": each.implausible,
                **_reply_as_json(each.reply),
            }
            for each in check.registers
        ],
        "combined": [
            {"measurement": each.name, "value": each.value, "data_unit": each.unit, "reason": each.reason}
            for each in check.sums
        ],
        "requests": [_request_as_json(each) for each in check.planned],
        "smaller_requests": [_request_as_json(each) for each in check.smaller],
        "explanation": check.explanation,
        "misconfigured": [{"row": row, "reason": why} for row, why in check.meter_type.unusable],
        "remark": check.remark,
        "notices": check.notices,
        "notes": [{"text": note.text, "remedy": note.remedy} for note in check.notes],
        "left_out": check.left_out,
    }


def _request_as_json(each: SentRequest) -> dict[str, Any]:
    request = each.request
    place = {"function_code": int(request.function_code), "address": request.address, "count": request.count}
    return place | _reply_as_json(each.reply)


def _reply_as_json(reply: Reply) -> dict[str, Any]:
    failed = not reply.words
    return {
        "words": list(reply.words),
        "seconds": round(reply.seconds, 4),
        "error": reply.reason if failed else None,
        "exception_code": reply.exception_code,
        "what_to_do": advise_on(reply) if failed else None,
    }
