"""Read a fleet once until a deadline: the meters behind one gateway in turn, different gateways concurrently."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from emm_pipeline.modbus.concurrent_readings import ConcurrentReadings
from emm_pipeline.modbus.conditions import Conditions
from emm_pipeline.modbus.gateway_locks import release_all
from emm_pipeline.modbus.gateway_reader import GatewayReader
from emm_pipeline.modbus.poll_planning import plan_polls
from emm_pipeline.modbus.transport.pacing import Pace, connections_for

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from emm_pipeline.fleet import EnergyMeter, GatewayAddress, MeterType
    from emm_pipeline.modbus.meter_poll import MeterPoll
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

    kept = conditions.kept
    if kept:
        await kept.settle()
    allowed = _connections(behind, conditions)
    is_limited = len(behind) > allowed
    if kept is not None and is_limited:  # a kept connection would take the place of another gateway's
        release_all(conditions.locks, kept.close())
        kept = None
    # Gateways that take longest start first, so that the last one to start does not delay the end.
    longest_first = sorted(behind.values(), key=_requests, reverse=True)
    reader = GatewayReader(conditions.locks, kept, allowed if is_limited else None)
    await ConcurrentReadings(reader, finish, Pace()).read(longest_first, deadline)
    return [readings[poll] for poll in polls]


def _requests(polls: Sequence[MeterPoll]) -> int:
    return len(polls[0].requests) if len(polls) == 1 else sum(len(poll.requests) for poll in polls)


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
