"""Check a meter's configuration: connection, unit, each register singly, and the requests of a poll."""

from __future__ import annotations

import asyncio
import itertools
import struct
import time
from collections import defaultdict, deque
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from emm_pipeline.commissioning.check_notes import notes_of
from emm_pipeline.commissioning.check_results import MeterCheck, RegisterCheck, SentRequest, SumCheck
from emm_pipeline.commissioning.locating import search_models
from emm_pipeline.fleet import DataType
from emm_pipeline.modbus import virtual_servers
from emm_pipeline.modbus.combining import combine
from emm_pipeline.modbus.decoding import decode_value
from emm_pipeline.modbus.exception_codes import DEVICE_FAILURE, NO_REPLY, UNSUPPORTED
from emm_pipeline.modbus.gateway_locks import locked
from emm_pipeline.modbus.labels import words_as_text
from emm_pipeline.modbus.planning import plan_confirmations, plan_requests, span
from emm_pipeline.modbus.session import Session, Timing
from emm_pipeline.modbus.silences import MOST_SILENCES, SILENCE
from emm_pipeline.modbus.splitting import TrackedRequest
from emm_pipeline.modbus.sunspec.models import has_models, locate, missing
from emm_pipeline.modbus.transport.base import TransportError
from emm_pipeline.readings import FailureKind, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from emm_pipeline.fleet import EnergyMeter, GatewayAddress, MeterType, Register
    from emm_pipeline.modbus.gateway_locks import GatewayLocks
    from emm_pipeline.modbus.session import Reply

MOST_TIMEOUTS = 2
"""A unit that has never replied gets no more requests after this number."""

GATEWAYS_AT_ONCE = 50

NOTHING: Mapping[int, Collection[str]] = MappingProxyType({})


def steps_of(meter_type: MeterType) -> int:
    """How many requests a check sends."""
    requests = plan_requests(meter_type)
    return len(meter_type.registers) + len(requests) + len(plan_confirmations(meter_type, requests))


async def check_meters(  # noqa: PLR0913 - two of them are callbacks
    meters: Sequence[EnergyMeter],
    types: Mapping[str, MeterType],
    locks: GatewayLocks,
    on_step: Callable[[], None],
    on_wait: Callable[[], None],
    *,
    accepted: Mapping[int, Collection[str]] = NOTHING,
) -> list[MeterCheck]:
    """Check meters, those behind one gateway in turn, different gateways concurrently; keep the order of `meters`.

    Args:
        meters: The meters.
        types: Their types by name.
        locks: The locks that keep polls away from a gateway meanwhile.
        on_step: Called after each request.
        on_wait: Called when a poll uses a gateway.
        accepted: By meter id the measurements whose absence a person has accepted.
    """
    by_gateway: dict[GatewayAddress, list[EnergyMeter]] = defaultdict(list)
    for meter in meters:
        by_gateway[meter.gateway].append(meter)
    turns = asyncio.Semaphore(GATEWAYS_AT_ONCE)

    async def check(meter: EnergyMeter) -> MeterCheck:
        checked = MeterCheck(meter, types[meter.type], accepted.get(meter.id, ()))
        await _check_meter(checked, locks, on_step, on_wait)
        checked.notes = notes_of(checked)
        return checked

    async def check_gateway(behind: Sequence[EnergyMeter]) -> list[MeterCheck]:
        async with turns:
            return [await check(meter) for meter in behind]

    checked = itertools.chain(*await asyncio.gather(*map(check_gateway, by_gateway.values())))
    by_meter = {check.meter: check for check in checked}
    return [by_meter[meter] for meter in meters]


async def _check_meter(
    checked: MeterCheck, locks: GatewayLocks, on_step: Callable[[], None], on_wait: Callable[[], None]
) -> None:
    """Read all registers of the meter's type; failures are in the result."""
    meter = checked.meter
    session = Session(meter.gateway, Timing.of(checked.meter_type))
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


async def _read_all(session: Session, checked: MeterCheck, on_step: Callable[[], None]) -> None:
    if has_models(checked.meter_type):
        await _locate(session, checked)
    companions: dict[Register, Reply] = {}
    for register in checked.meter_type.registers:
        if _never_replies(checked):
            checked.left_out += 1
            continue
        checked.registers.append(await _read_register(session, checked, register, companions))
        on_step()
    if _never_replies(checked):
        return
    values = {each.register.measurement_name: each.value for each in checked.registers if each.value is not None}
    for combined in checked.meter_type.combined:
        total, reason = combine(combined, values)
        checked.sums.append(SumCheck(combined.measurement_name, combined.data_unit, total, reason))
    await _read_as_a_poll_does(session, checked, on_step)
    if not checked.given and any(each.reply.exception_code == DEVICE_FAILURE for each in checked.registers):
        reply = await session.read(checked.meter.unit_id, virtual_servers.STATUS)
        data = struct.pack(f">{len(reply.words)}H", *reply.words)
        checked.explanation = virtual_servers.explanation(data, checked.meter.gateway)


async def _read_register(
    session: Session, checked: MeterCheck, register: Register, companions: dict[Register, Reply]
) -> RegisterCheck:
    """Read a register together with its companions, as a poll does; singly if one request cannot read all of them."""
    unit_id, factor = checked.meter.unit_id, checked.meter.factor
    alone = Request.of(register)
    if register.companions:
        start, end = span(register)
        together = alone.part(start, end)
        if together.count <= checked.meter_type.max_registers_per_request:
            reply = await session.read(unit_id, together)
            if reply.words:
                words, *others = (_words_of(each, together, reply) for each in (register, *register.companions))
                return RegisterCheck(
                    register, replace(reply, words=words), decode_value(words, register, others, factor)
                )
    reply = await session.read(unit_id, alone)
    if register.data_type is DataType.STRING:
        return RegisterCheck(register, reply, text=words_as_text(reply.words, register))
    if not reply.words:
        return RegisterCheck(register, reply)
    found = [await _read_companion(session, unit_id, each, companions) for each in register.companions]
    failed = next((each for each in found if not each.words), None)
    value = None if failed else decode_value(reply.words, register, [each.words for each in found], factor)
    return RegisterCheck(register, reply, value, companion=failed)


def _words_of(register: Register, request: Request, reply: Reply) -> tuple[int, ...]:
    """Return the words of one register in the reply to a request for several."""
    of_each = request.words // request.count
    first = (register.register_address - request.address) * of_each
    return reply.words[first : first + register.count * of_each]


async def _read_companion(session: Session, unit_id: int, companion: Register, known: dict[Register, Reply]) -> Reply:
    """Read a companion by itself, once for all registers that share it."""
    shared = replace(companion, measurement_name="of others")
    if shared not in known:
        known[shared] = await session.read(unit_id, Request.of(companion))
    return known[shared]


async def _read_as_a_poll_does(session: Session, checked: MeterCheck, on_step: Callable[[], None]) -> None:
    """Send the requests of a poll, and in place of those that the device refuses, smaller ones, as a poll does."""
    unit_id, meter_type = checked.meter.unit_id, checked.meter_type
    requests = plan_requests(meter_type)
    tracked = [TrackedRequest(request) for request in (*requests, *plan_confirmations(meter_type, requests))]
    silences = 0
    queue = deque((each, checked.planned) for each in tracked)
    while queue:
        each, results = queue.popleft()
        reply = await session.read(unit_id, each.request)
        results.append(SentRequest(each, reply))
        each.was_read = bool(reply.words)
        if results is checked.planned:
            on_step()
        silences += reply.kind in SILENCE
        if reply.exception_code in UNSUPPORTED or (reply.kind in SILENCE and silences <= MOST_SILENCES):
            each.split(reply.exception_code or NO_REPLY, meter_type.asked)
            queue.extend((part, checked.smaller) for part in each.share_parts(tracked))


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
