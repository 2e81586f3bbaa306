"""Read the registers of a meter or of a device that is to be added, and describe the result for a page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from emm_pipeline.commissioning.ad_hoc import check_now
from emm_pipeline.commissioning.check_results import AD_HOC_ID
from emm_pipeline.commissioning.type_names import find_type as type_named
from emm_pipeline.config_db.loader import load_fleet
from emm_pipeline.errors import ConfigurationError
from emm_pipeline.modbus.messages import advise_on
from emm_pipeline.modbus.transport.base import ConnectError
from emm_pipeline.web.reach import hint_on_reach
from emm_pipeline.web.site import site_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from emm_pipeline.commissioning.check_results import MeterCheck, RegisterCheck
    from emm_pipeline.fleet import EnergyMeter, MeterType

WITHIN_S = 120.0
"""Maximum duration of a check in seconds."""
_WORDS_SHOWN = 16


@dataclass(frozen=True, slots=True)
class CheckedRegister:
    """A register as it is shown: its value or text, its raw registers, and why it has no valid value."""

    measurement: str
    address: int
    function_code: int
    value: float | None
    text: str | None
    unit: str | None
    raw: str
    milliseconds: float
    remark: str | None
    is_failure: bool


@dataclass(frozen=True, slots=True)
class CheckedDevice:
    """The result of a check for a page. `failure` says why it ended early, and `notes` are what a poll copes with."""

    ok: bool
    verdict: str
    registers: Sequence[CheckedRegister]
    failure: str | None
    advice: Sequence[str]
    notes: Sequence[str]
    read: int
    total: int


def find_type(request: Request, name: str) -> MeterType:
    """Return a type of the database, or else of the catalogue.

    Raises:
        ConfigurationError: There is no such type.
    """
    return type_named(load_fleet(site_of(request).engine, all_types=True), name)


def known_meter(request: Request, meter_id: int) -> tuple[EnergyMeter, MeterType]:
    """Return an enabled meter of the database with its type.

    Raises:
        ConfigurationError: There is none, it is disabled, or its row has issues.
    """
    fleet = load_fleet(site_of(request).engine)
    for meter in fleet.meters:
        if meter.id == meter_id:
            return meter, fleet.types[meter.type]
    issue = fleet.misconfigured.get(meter_id)
    raise ConfigurationError(str(issue) if issue else f"meter {meter_id} is not polled: enable it first")


def check(request: Request, meter: EnergyMeter, meter_type: MeterType) -> CheckedDevice:
    """Read every register of a device now.

    Raises:
        TransientError: It took too long.
    """
    return _described(check_now(site_of(request).engine, meter, meter_type, WITHIN_S))


def _described(checked: MeterCheck) -> CheckedDevice:
    failed = [each.failure for each in checked.failed_registers if each.failure]
    advice = [checked.explanation] if checked.explanation else [advise_on(reply) for reply in failed]
    failure = None
    if checked.failure:
        failure = str(checked.failure)
        advice[:0] = filter(None, [_hint(checked), advise_on(checked.failure)])
    return CheckedDevice(
        checked.ok,
        checked.verdict,
        [_register(each) for each in checked.registers],
        failure,
        list(dict.fromkeys(advice))[:3],
        [f"{note.text}: {note.remedy}" if note.remedy else note.text for note in checked.notes],
        sum(not each.failure for each in checked.registers),
        len(checked.meter_type.registers),
    )


def _hint(checked: MeterCheck) -> str | None:
    """Return why a device that could not be reached is perhaps unreachable from here."""
    meter = checked.meter
    if not isinstance(checked.failure, ConnectError):
        return None
    place = f"--host {meter.address} --unit {meter.unit_id} --type {meter.type}"
    which = place if meter.id == AD_HOC_ID else str(meter.id)
    return hint_on_reach(meter.gateway, f"emm meters check {which}")


def _register(each: RegisterCheck) -> CheckedRegister:
    words: Any = each.reply.words
    raw = " ".join(f"{word:04X}" for word in words[:_WORDS_SHOWN]) + (" …" if len(words) > _WORDS_SHOWN else "")
    remark = each.failure.reason if each.failure else each.implausible
    if each.is_empty:
        remark = "the device has no value"
    return CheckedRegister(
        each.register.measurement_name,
        each.register.register_address,
        int(each.register.function_code),
        each.value,
        each.text,
        each.register.data_unit,
        raw,
        each.reply.seconds * 1000,
        remark,
        each.failure is not None or each.implausible is not None,
    )
