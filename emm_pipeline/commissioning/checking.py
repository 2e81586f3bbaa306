"""Whether a meter is as it is configured: connection, unit, each register by itself, and the requests of a poll."""

from __future__ import annotations

import asyncio
import itertools
import struct
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from emm_pipeline.fleet import scale_factor
from emm_pipeline.modbus.exception_codes import ILLEGAL_FUNCTION, REFUSALS
from emm_pipeline.modbus.planning import plan_requests
from emm_pipeline.modbus.session import Reply, Session, holding
from emm_pipeline.modbus.sunspec.models import ModelSearch, has_models, locate, missing
from emm_pipeline.modbus.transport.tcp import ReadError
from emm_pipeline.modbus.values import decode_value
from emm_pipeline.readings import FailureKind, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from emm_pipeline.fleet import EnergyMeter, MeterType, Register
    from emm_pipeline.modbus.reading import GatewayLocks

AD_HOC_ID = -(2**31) - 1
"""Of a meter that is in no database: an id that none there can have."""

MOST_TIMEOUTS = 2
"""After so many requests in a row without any reply, a unit that never gave one is asked no more."""

GATEWAYS_AT_ONCE = 50

_ODD_SIZES = (1e-9, 1e12)


@dataclass(frozen=True, slots=True)
class RegisterCheck:
    """A register, asked for by itself; `value` is in its unit, None where there is none."""

    register: Register
    answer: Reply
    value: float | None = None

    @property
    def is_odd(self) -> bool:
        """Whether no meter measures such a number, so that type or order must be wrong."""
        low, high = _ODD_SIZES
        return bool(self.value) and not low < abs(self.value or 0.0) < high


@dataclass(slots=True)
class MeterCheck:
    """What has come of a check so far."""

    meter: EnergyMeter
    meter_type: MeterType
    connected_s: float | None = None
    problem: ReadError | None = None
    """Why there is no connection, or no more."""
    registers: list[RegisterCheck] = field(default_factory=list)
    requests: list[tuple[Request, Reply]] = field(default_factory=list)
    remark: str | None = None
    """Measurements that no SunSpec model of the device gives."""
    left_out: int = 0
    """Registers that were not asked for any more."""

    @property
    def failures(self) -> list[Reply]:
        """The answers that are none."""
        answers = [each.answer for each in self.registers] + [answer for _, answer in self.requests]
        return [answer for answer in answers if not answer.words]

    @property
    def ok(self) -> bool:
        """Whether everything was read."""
        return not self.problem and not self.failures and not self.left_out


def steps_of(meter_type: MeterType) -> int:
    """How many requests a check sends."""
    return len(meter_type.registers) + len(plan_requests(meter_type))


async def check_meters(
    meters: Sequence[EnergyMeter],
    types: Mapping[str, MeterType],
    locks: GatewayLocks,
    on_step: Callable[[], None],
    on_wait: Callable[[], None],
) -> list[MeterCheck]:
    """Checks meters, those behind one gateway in turn, and gateways side by side; in the order of `meters`."""
    by_gateway: dict[str, list[EnergyMeter]] = defaultdict(list)
    for meter in meters:
        by_gateway[meter.address].append(meter)
    turns = asyncio.Semaphore(GATEWAYS_AT_ONCE)

    async def check_gateway(behind: Sequence[EnergyMeter]) -> list[MeterCheck]:
        async with turns:
            return [await _check_meter(meter, types[meter.type], locks, on_step, on_wait) for meter in behind]

    checked = itertools.chain(*await asyncio.gather(*map(check_gateway, by_gateway.values())))
    by_meter = {check.meter: check for check in checked}
    return [by_meter[meter] for meter in meters]


async def _check_meter(
    meter: EnergyMeter,
    meter_type: MeterType,
    locks: GatewayLocks,
    on_step: Callable[[], None],
    on_wait: Callable[[], None],
) -> MeterCheck:
    """Asks a meter for everything that its type has; what fails is in the result."""
    checked = MeterCheck(meter, meter_type)
    line = Session(meter.host, meter.port, timeout_s=meter_type.timeout_s, pause_s=meter_type.request_pause_s)
    async with holding(locks, meter.address, on_wait):
        try:
            checked.connected_s = await line.open()
            await _ask_all(line, checked, on_step)
        except ReadError as err:
            checked.problem = err
            checked.left_out = len(checked.meter_type.registers) - len(checked.registers)
        finally:
            line.close()
    return checked


async def _ask_all(line: Session, checked: MeterCheck, on_step: Callable[[], None]) -> None:
    unit_id = checked.meter.unit_id
    if has_models(checked.meter_type):
        await _locate(line, checked)
    powers: dict[Register, Reply] = {}
    for register in checked.meter_type.registers:
        if _never_answers(checked):
            checked.left_out += 1
            continue
        answer = await line.ask(unit_id, _request(register))
        power: tuple[int, ...] = ()
        if register.scale_register is not None and answer.words:
            scaling = scale_factor(replace(register, measurement_name="others"))
            if scaling not in powers:
                powers[scaling] = await line.ask(unit_id, _request(scaling))
                checked.requests.append((_request(scaling), powers[scaling]))
            power = powers[scaling].words
        value = decode_value(answer.words, register, power) if answer.words else None
        checked.registers.append(RegisterCheck(register, answer, value))
        on_step()
    if _never_answers(checked):
        return
    for request in plan_requests(checked.meter_type):
        checked.requests.append((request, await line.ask(unit_id, request)))
        on_step()


def _request(register: Register) -> Request:
    return Request(register.function_code, register.register_address, register.count)


async def _locate(line: Session, checked: MeterCheck) -> None:
    """Finds where the device has the SunSpec models of its type, and takes the type's registers from there.

    Raises:
        ReadError: It has none, or does not say.
    """
    search = ModelSearch()
    while search.request:
        answer = await line.ask(checked.meter.unit_id, search.request)
        if answer.words:
            search.take(struct.pack(f">{len(answer.words)}H", *answer.words))
        elif answer.exception_code in REFUSALS | {ILLEGAL_FUNCTION}:
            search.refuse()
        else:
            kind = answer.kind or FailureKind.TIMEOUT
            raise ReadError(kind, f"{answer.reason} (the list of its SunSpec models)", answer.exception_code)
    if search.failure:
        raise ReadError(FailureKind.CONFIGURATION, search.failure)
    located = locate(checked.meter_type, search.found, search.ends)
    checked.remark = missing(checked.meter_type, located, search.found)
    checked.meter_type = located


def _never_answers(checked: MeterCheck) -> bool:
    silent = [each.answer.kind is FailureKind.TIMEOUT for each in checked.registers]
    return len(silent) >= MOST_TIMEOUTS and all(silent)
