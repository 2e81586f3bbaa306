"""Check a meter's configuration: connection, unit, each register singly, and the requests of a poll."""

from __future__ import annotations

import asyncio
import itertools
import struct
import time
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from emm_pipeline.fleet import scale_factor
from emm_pipeline.modbus.exception_codes import ILLEGAL_FUNCTION, UNSUPPORTED
from emm_pipeline.modbus.gateway_locks import locked
from emm_pipeline.modbus.planning import plan_requests
from emm_pipeline.modbus.session import Reply, Session, Timing
from emm_pipeline.modbus.sunspec.models import ModelSearch, has_models, locate, missing
from emm_pipeline.modbus.transport.base import TransportError
from emm_pipeline.modbus.values import decode_value
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
    """A register that was read singly; `value` is in its unit, or None if there is no value."""

    register: Register
    reply: Reply
    value: float | None = None

    @property
    def implausible(self) -> str | None:
        """Why no meter measures such a number, so that type, order or scale must be wrong; None if one may."""
        if self.value is None:
            return None
        return implausibility(self.register.measurement_name, self.register.data_unit, self.value)

    @property
    def is_odd(self) -> bool:
        """Whether no meter measures such a number."""
        return self.implausible is not None


@dataclass(slots=True)
class MeterCheck:
    """The result of a check so far."""

    meter: EnergyMeter
    meter_type: MeterType
    connected_s: float | None = None
    failure: TransportError | None = None
    """Why the check ended early: no connection, or no list of SunSpec models."""
    registers: list[RegisterCheck] = field(default_factory=list)
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
        """What was unusual about replies that were accepted."""
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
    """Return the number of requests that a check sends."""
    return len(meter_type.registers) + len(plan_requests(meter_type))


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
    powers: dict[Register, Reply] = {}
    for register in checked.meter_type.registers:
        if _never_replies(checked):
            checked.left_out += 1
            continue
        reply = await session.read(unit_id, _request(register))
        power: tuple[int, ...] = ()
        if register.scale_register is not None and reply.words:
            scaling = scale_factor(replace(register, measurement_name="others"))
            if scaling not in powers:
                powers[scaling] = await session.read(unit_id, _request(scaling))
                checked.requests.append((_request(scaling), powers[scaling]))
            power = powers[scaling].words
        value = decode_value(reply.words, register, power) if reply.words else None
        checked.registers.append(RegisterCheck(register, reply, value))
        on_step()
    if _never_replies(checked):
        return
    for request in plan_requests(checked.meter_type):
        checked.requests.append((request, await session.read(unit_id, request)))
        on_step()


def _request(register: Register) -> Request:
    return Request(register.function_code, register.register_address, register.count)


async def _locate(session: Session, checked: MeterCheck) -> None:
    """Find the addresses of the SunSpec models of the meter's type, and use them for the type's registers.

    Raises:
        TransportError: The device has no models, or does not list them.
    """
    search = ModelSearch()
    while search.request:
        reply = await session.read(checked.meter.unit_id, search.request)
        if reply.words:
            search.take(struct.pack(f">{len(reply.words)}H", *reply.words))
        elif reply.exception_code in UNSUPPORTED | {ILLEGAL_FUNCTION}:
            search.take_exception()
        else:
            kind = reply.kind or FailureKind.TIMEOUT
            raise TransportError(kind, f"{reply.reason} (the list of its SunSpec models)", reply.exception_code)
    if search.failure:
        raise TransportError(FailureKind.CONFIGURATION, search.failure)
    located = locate(checked.meter_type, search.found, search.ends)
    checked.remark = missing(checked.meter_type, located, search.found)
    checked.meter_type = located


def _never_replies(checked: MeterCheck) -> bool:
    silent = [each.reply.kind is FailureKind.TIMEOUT for each in checked.registers]
    return len(silent) >= MOST_TIMEOUTS and all(silent)
