"""Read a fleet once until a deadline: the meters behind one gateway in turn, different gateways concurrently."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from emm_pipeline.fleet import EnergyMeter, MeterType
from emm_pipeline.modbus.gateway import GatewayPoll
from emm_pipeline.modbus.gateway_locks import (
    LOCK_RETRY_S,
    GatewayLocks,
    Unlocked,
    lock_names,
    release_all,
    try_acquire_all,
    unresolved,
)
from emm_pipeline.modbus.last_requests import LastRequests
from emm_pipeline.modbus.meter_poll import RETRIES, MeterPoll
from emm_pipeline.modbus.planning import Plans
from emm_pipeline.modbus.sunspec.model_poll import ModelPoll
from emm_pipeline.modbus.sunspec.models import has_models
from emm_pipeline.modbus.transport.pacing import Pace, connections_for
from emm_pipeline.modbus.unsupported import EarlierRequests, known_unsupported
from emm_pipeline.readings import FailureKind, MeterReading, UnsupportedRange

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence

    from emm_pipeline.fleet import GatewayAddress
    from emm_pipeline.modbus.kept_sessions import KeptSession, KeptSessions
    from emm_pipeline.modbus.session import Session
    from emm_pipeline.readings import GivenRange


@dataclass(frozen=True, slots=True)
class Conditions:
    """Conditions for a reading: locks, limits and the device state.

    `unsupported` contains, by meter id, the registers that the unit does not support. `failing` are the ids of meters
    that keep failing; they get no second request if they are busy. `models` contains, by meter id, the last addresses
    of the unit's SunSpec models (`model_key` to address). `labels_known` are the ids of meters whose labels are not
    read now.
    """

    max_connections: int | None = 200
    """None: as many as possible."""
    locks: GatewayLocks = field(default_factory=Unlocked)
    unsupported: Mapping[int, Sequence[UnsupportedRange]] = field(default_factory=dict)
    failing: Collection[int] = ()
    models: Mapping[int, Mapping[int, int]] = field(default_factory=dict)
    retried: Mapping[int, Sequence[UnsupportedRange]] = field(default_factory=dict)
    """By meter id the registers that the meter did not give last time, and that are requested again now."""
    given: Mapping[int, Sequence[GivenRange]] = field(default_factory=dict)
    """By meter id the registers that the meter has ever given."""
    silent: Collection[int] = ()
    """The ids of meters that did not reply when they were read last, or whose gateway closed the connection."""
    labels_known: Collection[int] | None = None
    """None means all meters: no labels are read."""
    kept: KeptSessions | None = None
    """The sessions that stay open between the readings of a run; they are used, and replaced by those to keep."""


async def read_meters(
    meters: Sequence[EnergyMeter],
    types: Mapping[str, MeterType],
    *,
    deadline: float,
    conditions: Conditions | None = None,
    on_reading: Callable[[MeterReading], None] | None = None,
) -> list[MeterReading]:
    """Read every meter once.

    A meter that cannot be read has a failure in its reading; no exception is raised for it.

    Args:
        meters: The meters; those behind one gateway share a session and are read in turn, by unit id.
        types: The meters' types by name.
        deadline: The time at which reading ends, on the clock of `time.monotonic`.
        conditions: Locks, limits and device state; default: only the default number of connections.
        on_reading: Called with each reading as soon as the meter has been read.

    Returns:
        One reading per meter, in the order of `meters`.
    """
    conditions = conditions or Conditions()
    readings: dict[MeterPoll, MeterReading] = {}

    def finish(poll: MeterPoll) -> None:
        readings[poll] = poll.reading()
        if on_reading:
            on_reading(readings[poll])

    polls = _plan(meters, types, conditions)
    behind: dict[GatewayAddress, list[MeterPoll]] = defaultdict(list)
    for poll in polls:
        if poll.failure:
            finish(poll)
        else:
            behind[poll.meter.gateway].append(poll)

    pace = Pace()
    kept = conditions.kept
    if kept:
        await kept.settle()
    allowed = _connections(behind, conditions)
    slots = asyncio.Semaphore(allowed)
    if kept is not None and len(behind) > allowed:  # a kept connection would take the place of another gateway's
        release_all(conditions.locks, kept.close())
        kept = None
    # Gateways that take longest start first, so that the last one to start does not delay the end.
    longest_first = sorted(behind.values(), key=lambda polls: -sum(len(p.requests) for p in polls))
    gateways = [GatewayPoll(polls_behind, finish, pace) for polls_behind in longest_first]
    await _read_until(deadline, gateways, lambda gateway: _read_gateway(gateway, conditions.locks, kept, slots))
    return [readings[poll] for poll in polls]


def _connections(gateways: Collection[GatewayAddress], conditions: Conditions) -> int:
    """Return the number of connections to these gateways; close those to others if all would be too many."""
    kept = conditions.kept
    if not kept:
        return connections_for(len(gateways), conditions.max_connections)
    together = len({*gateways, *kept.gateways()})
    allowed = connections_for(together, conditions.max_connections, kept.connections())
    if together > allowed:
        release_all(conditions.locks, kept.close_others(gateways))
    return allowed


def _plan(meters: Iterable[EnergyMeter], types: Mapping[str, MeterType], conditions: Conditions) -> list[MeterPoll]:
    """Return a poll per meter; a meter that cannot be planned has failed with CONFIGURATION."""
    plans = Plans(types)
    searched = {name for name, meter_type in types.items() if has_models(meter_type)}
    polls: list[MeterPoll] = []

    def reads_labels(meter: EnergyMeter) -> bool:
        return conditions.labels_known is not None and meter.id not in conditions.labels_known

    for meter in meters:
        known = tuple(conditions.unsupported.get(meter.id, ()))
        retries = 0 if meter.id in conditions.failing else RETRIES
        earlier = EarlierRequests(
            tuple(conditions.retried.get(meter.id, ())), tuple(conditions.given.get(meter.id, ()))
        )
        manner: dict[str, Any] = {
            "earlier": earlier,
            "keeps_failing": meter.id in conditions.failing,
            "was_silent": meter.id in conditions.silent,
        }
        if meter.type not in types:
            poll = MeterPoll(meter, MeterType(meter.type), ())
            poll.fail(FailureKind.CONFIGURATION, f"type {meter.type} is not configured")
        elif meter.type in searched:
            place = conditions.models.get(meter.id)
            reads = reads_labels(meter)
            poll = ModelPoll(
                *(meter, types[meter.type], (), known, retries),
                **manner,
                plans=plans,
                known=place,
                reads_labels=reads,
            )
        else:
            meter_type = types[meter.type]
            plan = plans.requests(meter_type, known_unsupported((*known, *earlier.silent), meter_type.asked))
            if isinstance(plan, str):
                poll = MeterPoll(meter, meter_type, ())
                poll.fail(FailureKind.CONFIGURATION, plan)
            else:
                labels = plans.label_requests(meter_type) if reads_labels(meter) else ()
                last = LastRequests(plans.confirmations(meter_type, plan), labels)
                poll = MeterPoll(meter, meter_type, plan, known, retries, last=last, **manner)
        polls.append(poll)
    return polls


async def _read_until(
    deadline: float, gateways: Iterable[GatewayPoll], read: Callable[[GatewayPoll], Coroutine[Any, Any, None]]
) -> None:
    """Read gateways concurrently; those that are not finished by the deadline fail.

    One timer for all of them: `asyncio.timeout` would take 6 µs for each gateway.
    """
    tasks = {asyncio.create_task(read(gateway)): gateway for gateway in gateways}
    late: list[asyncio.Task[None]] = []
    try:
        if tasks:
            seconds = max(0.0, deadline - time.monotonic())
            await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        late = [task for task in tasks if not task.done()]
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
    for task, gateway in tasks.items():
        if not task.cancelled():
            task.result()
        else:
            gateway.run_out_of_time()


async def _read_gateway(
    gateway: GatewayPoll, locks: GatewayLocks, sessions: KeptSessions | None, slots: asyncio.Semaphore
) -> None:
    """Read all meters behind a gateway as soon as a connection and the gateway's lock are free.

    While another run has the lock, other gateways can use the connection. The gateway of a kept session is locked.
    """
    gateway.waits_because = "all allowed connections were in use"
    names: tuple[str, ...] = ()
    while True:
        async with slots:
            gateway.waits_because = None
            kept = await _take_kept(gateway, locks, sessions) if sessions else None
            names = kept.names if kept else names or await lock_names(gateway.address, gateway.timeout_s)
            if kept or await try_acquire_all(locks, names):
                await _read_locked(gateway, locks, sessions, kept, names)
                return
            if sessions and (unused := sessions.close(names)):  # kept under another name of the gateway
                release_all(locks, unused)
            gateway.waits_because = f"another run is using {gateway.address}"
        await asyncio.sleep(LOCK_RETRY_S)


async def _take_kept(gateway: GatewayPoll, locks: GatewayLocks, sessions: KeptSessions) -> KeptSession | None:
    """Return the kept session with a gateway, unless its name has other addresses now, which must be locked.

    While the name does not resolve, the session is used.
    """
    address = gateway.address
    if before := sessions.names_of(address):
        names = await lock_names(address, gateway.timeout_s)
        if names not in (before, unresolved(address)):
            release_all(locks, sessions.close(before))
    return sessions.take(address)


async def _read_locked(
    gateway: GatewayPoll,
    locks: GatewayLocks,
    sessions: KeptSessions | None,
    kept: KeptSession | None,
    names: tuple[str, ...],
) -> None:
    """Read all meters behind a locked gateway, and unlock it unless its session is kept."""
    still_open: Session | None = None
    try:
        keeps = None if sessions is None else sessions.next_is_near
        still_open = await gateway.read(kept.session if kept else None, keeps=keeps)
    finally:
        if still_open and sessions is not None:
            sessions.keep(still_open, names)
        else:
            release_all(locks, names)
