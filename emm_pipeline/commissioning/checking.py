"""Check a meter's configuration: connection, unit, each register singly, and the requests of a poll."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from emm_pipeline.commissioning.locating import search_models
from emm_pipeline.fleet import DataType
from emm_pipeline.modbus.combining import combine
from emm_pipeline.modbus.decoding import decode_value
from emm_pipeline.modbus.gateway_locks import locked
from emm_pipeline.modbus.labels import words_as_text
from emm_pipeline.modbus.planning import plan_confirmations, plan_requests
from emm_pipeline.modbus.session import Reply, Session, Timing
from emm_pipeline.modbus.sunspec.models import has_models, locate, missing
from emm_pipeline.modbus.transport.base import TransportError
from emm_pipeline.plausibility import implausibility
from emm_pipeline.readings import FailureKind, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from emm_pipeline.fleet import EnergyMeter, GatewayAddress, MeterType, Register
    from emm_pipeline.modbus.gateway_locks import GatewayLocks

AD_HOC_ID = -(2**31) - 1
"""Id of a meter that is not in the database; no meter in a database can have it."""

MOST_TIMEOUTS = 2
"""A unit that has never replied gets no more requests after this number."""

GATEWAYS_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class RegisterCheck:
    """A register, read by itself; `value` is in its unit, None where there is none. A label has a `text` instead."""

    register: Register
    reply: Reply
    value: float | None = None
    text: str | None = None

    @property
    def implausible(self) -> str | None:
        """Why the value cannot be right, so that type, order or scale must be wrong; None if it can."""
        if self.value is None:
            return None
        return implausibility(self.register.measurement_name, self.register.data_unit, self.value)

    @property
    def is_odd(self) -> bool:
        """Whether no meter measures such a number."""
        return self.implausible is not None


@dataclass(frozen=True, slots=True)
class SumCheck:
    """A combined measurement of the registers that were read. If it has no value, `reason` says why."""

    name: str
    unit: str | None
    value: float | None
    reason: str | None = None


@dataclass(slots=True)
class MeterCheck:
    """The result of a check so far."""

    meter: EnergyMeter
    meter_type: MeterType
    connected_s: float | None = None
    failure: TransportError | None = None
    """Why the check ended early: no connection, or no list of SunSpec models."""
    registers: list[RegisterCheck] = field(default_factory=list)
    sums: list[SumCheck] = field(default_factory=list)
    requests: list[tuple[Request, Reply]] = field(default_factory=list)
    remark: str | None = None
    """Measurements that no SunSpec model of the device provides."""
    left_out: int = 0
    """Number of registers that were not read because the check ended early."""

    @property
    def failed(self) -> list[Reply]:
        """The requests that failed."""
        replies = [each.reply for each in self.registers] + [reply for _, reply in self.requests]
        return [reply for reply in replies if not reply.words]

    @property
    def notices(self) -> list[str]:
        """Notices about unusual replies that were accepted."""
        replies = [each.reply for each in self.registers] + [reply for _, reply in self.requests]
        return list(dict.fromkeys(notice for reply in replies for notice in reply.notices))

    @property
    def given(self) -> list[Request]:
        """The registers that were read."""
        return [_request(each.register) for each in self.registers if each.reply.words]

    @property
    def ok(self) -> bool:
        """Whether everything was read, and every row of its type can be used."""
        return not self.failure and not self.failed and not self.left_out and not self.meter_type.unusable


def steps_of(meter_type: MeterType) -> int:
    """How many requests a check sends."""
    requests = plan_requests(meter_type)
    return len(meter_type.registers) + len(requests) + len(plan_confirmations(meter_type, requests))


async def check_meters(
    meters: Sequence[EnergyMeter],
    types: Mapping[str, MeterType],
    locks: GatewayLocks,
    on_step: Callable[[], None],
    on_wait: Callable[[], None],
) -> list[MeterCheck]:
    """Check meters, those behind one gateway in turn, different gateways concurrently; keep the order of `meters`."""
    by_gateway: dict[GatewayAddress, list[EnergyMeter]] = defaultdict(list)
    for meter in meters:
        by_gateway[meter.gateway].append(meter)
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
    """Read all registers of the meter's type; failures are in the result."""
    checked = MeterCheck(meter, meter_type)
    session = Session(meter.gateway, Timing.of(meter_type))
    async with locked(locks, meter.gateway, on_wait):
        began = time.monotonic()
        try:
            await session.open()
            checked.connected_s = time.monotonic() - began
            await _read_all(session, checked, on_step)
        except TransportError as err:
            checked.failure = err
            checked.left_out = len(checked.meter_type.registers) - len(checked.registers)
        finally:
            session.close()
    return checked


async def _read_all(session: Session, checked: MeterCheck, on_step: Callable[[], None]) -> None:
    unit_id = checked.meter.unit_id
    if has_models(checked.meter_type):
        await _locate(session, checked)
    companions: dict[Register, Reply] = {}
    for register in checked.meter_type.registers:
        if _never_replies(checked):
            checked.left_out += 1
            continue
        reply = await session.read(unit_id, _request(register))
        if register.data_type is DataType.STRING:
            checked.registers.append(RegisterCheck(register, reply, text=words_as_text(reply.words, register)))
        else:
            value = await _value_of(session, checked, register, reply, companions) if reply.words else None
            checked.registers.append(RegisterCheck(register, reply, value))
        on_step()
    if _never_replies(checked):
        return
    values = {each.register.measurement_name: each.value for each in checked.registers if each.value is not None}
    for combined in checked.meter_type.combined:
        total, reason = combine(combined, values)
        checked.sums.append(SumCheck(combined.measurement_name, combined.data_unit, total, reason))
    planned = plan_requests(checked.meter_type)
    for request in (*planned, *plan_confirmations(checked.meter_type, planned)):
        checked.requests.append((request, await session.read(unit_id, request)))
        on_step()


async def _value_of(
    session: Session, checked: MeterCheck, register: Register, reply: Reply, companions: dict[Register, Reply]
) -> float | None:
    """Return the value of a register. Its companions are read too, each once for all registers that share it."""
    words = []
    for companion in register.companions:
        shared = replace(companion, measurement_name="of others")
        if shared not in companions:
            companions[shared] = await session.read(checked.meter.unit_id, _request(companion))
            checked.requests.append((_request(companion), companions[shared]))
        words.append(companions[shared].words)
    return decode_value(reply.words, register, words, checked.meter.factor)


def _request(register: Register) -> Request:
    return Request(register.function_code, register.register_address, register.count, register.register_bytes)


async def _locate(session: Session, checked: MeterCheck) -> None:
    """Find the addresses of the SunSpec models of the meter's type, and use them for the type's registers.

    Raises:
        TransportError: The device has no models, or does not list them.
    """
    search = await search_models(lambda request: session.read(checked.meter.unit_id, request))
    if search.failure:
        raise TransportError(FailureKind.CONFIGURATION, search.failure)
    located = locate(checked.meter_type, search.found, search.ends)
    checked.remark = missing(checked.meter_type, located, search.found)
    checked.meter_type = located


def _never_replies(checked: MeterCheck) -> bool:
    silent = [each.reply.kind is FailureKind.TIMEOUT for each in checked.registers]
    return len(silent) >= MOST_TIMEOUTS and all(silent)
