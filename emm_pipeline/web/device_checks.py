"""Read the registers of a meter or of a device that is to be added, and describe the result for a page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from emm_pipeline.catalog import load_catalogue
from emm_pipeline.commissioning.ad_hoc import check_now
from emm_pipeline.config_db.loader import load_fleet
from emm_pipeline.errors import ConfigurationError
from emm_pipeline.modbus.messages import advise
from emm_pipeline.readings import FailureKind
from emm_pipeline.web.site import site_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from emm_pipeline.commissioning.check_results import MeterCheck, RegisterCheck
    from emm_pipeline.fleet import EnergyMeter, MeterType
    from emm_pipeline.modbus.session import Reply

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
    types = load_fleet(site_of(request).engine, all_types=True).types
    if name in types:
        return types[name]
    catalogue = load_catalogue()
    if name in catalogue:
        return catalogue[name].meter_type
    raise ConfigurationError(f"there is no type {name!r}, neither in the database nor in the catalogue")


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
    advice = [checked.explanation] if checked.explanation else [_advice(reply) for reply in failed]
    failure = None
    if checked.failure:
        failure = str(checked.failure)
        advice.insert(0, checked.failure.advice or advise(checked.failure.kind, checked.failure.exception_code))
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


def _advice(reply: Reply) -> str:
    return reply.advice or advise(reply.kind or FailureKind.TIMEOUT, reply.exception_code)
