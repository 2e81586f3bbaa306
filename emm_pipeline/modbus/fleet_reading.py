"""Read a fleet once until a deadline: the meters behind one gateway in turn, different gateways concurrently."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from emm_pipeline.modbus.conditions import Conditions
from emm_pipeline.modbus.gateway import GatewayPoll
from emm_pipeline.modbus.gateway_locks import LOCK_RETRY_S, lock_names, release_all, try_acquire_all, unresolved
from emm_pipeline.modbus.poll_planning import plan_polls
from emm_pipeline.modbus.transport.pacing import Pace, connections_for

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence

    from emm_pipeline.fleet import EnergyMeter, GatewayAddress, MeterType
    from emm_pipeline.modbus.gateway_locks import GatewayLocks
    from emm_pipeline.modbus.kept_sessions import KeptSession, KeptSessions
    from emm_pipeline.modbus.meter_poll import MeterPoll
    from emm_pipeline.modbus.session import Session
    from emm_pipeline.readings import MeterReading

__all__ = ["Conditions", "read_meters"]


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

    polls = plan_polls(meters, types, conditions)
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
