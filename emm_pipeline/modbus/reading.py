"""Reads a fleet once: the units behind one gateway in turn, gateways side by side, until the sample's deadline."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from emm_pipeline.fleet import EnergyMeter, MeterType
from emm_pipeline.modbus.gateway import Gateway
from emm_pipeline.modbus.meter_poll import RETRIES, MeterPoll
from emm_pipeline.modbus.pacing import Pace, allowed_connections
from emm_pipeline.modbus.plans import Plans, avoided_requests
from emm_pipeline.modbus.sunspec.model_poll import ModelPoll
from emm_pipeline.modbus.sunspec.models import has_models
from emm_pipeline.readings import FailureKind, MeterReading, UnsupportedRange

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

_LOCK_RETRY_S = 0.2
"""From one attempt to the next at a gateway to which another run talks."""


class GatewayLocks(Protocol):
    """Keeps two runs from talking to one gateway at the same time. An address is `host:port`."""

    async def try_acquire(self, address: str) -> bool:
        """Returns at once whether the gateway is ours now."""

    def release(self, address: str) -> None:
        """Gives it back; that may take a moment longer than the call."""


class Unlocked:
    """Locks of someone who is alone: nothing is locked."""

    async def try_acquire(self, address: str) -> bool:  # noqa: ARG002 - GatewayLocks's
        """Returns True."""
        return True

    def release(self, address: str) -> None:
        """Does nothing."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What reading has to respect.

    `refused` is by meter id what the unit is known to refuse. `failing` are the ids of meters that keep failing: they
    are not asked again within the sample when they are busy or silent. `models` is by meter id where the unit had its
    SunSpec models, model id to address.
    """

    max_connections: int = 200
    locks: GatewayLocks = field(default_factory=Unlocked)
    refused: Mapping[int, Sequence[UnsupportedRange]] = field(default_factory=dict)
    failing: Collection[int] = ()
    models: Mapping[int, Mapping[int, int]] = field(default_factory=dict)


async def read_meters(
    meters: Sequence[EnergyMeter],
    types: Mapping[str, MeterType],
    *,
    deadline: float,
    conditions: Conditions | None = None,
    on_sample: Callable[[MeterReading], None] | None = None,
) -> list[MeterReading]:
    """Reads every meter once.

    A meter that cannot be read has a failure in its sample; nothing is raised for its sake.

    Args:
        meters: The meters; those of one `host:port` share a connection and are read in turn, by unit id.
        types: The meters' types by name.
        deadline: When to end at the latest, on the clock of `time.monotonic`.
        conditions: What to respect; nothing but the default number of connections without.
        on_sample: Called with each sample as soon as its meter is done.

    Returns:
        One sample per meter, in the order of `meters`.
    """
    conditions = conditions or Conditions()
    samples: dict[MeterPoll, MeterReading] = {}

    def finish(poll: MeterPoll) -> None:
        samples[poll] = poll.sample()
        if on_sample:
            on_sample(samples[poll])

    polls = _plan(meters, types, conditions)
    behind: dict[tuple[str, int], list[MeterPoll]] = defaultdict(list)
    for poll in polls:
        if poll.failure:
            finish(poll)
        else:
            behind[poll.meter.host, poll.meter.port].append(poll)

    pace = Pace()
    slots = asyncio.Semaphore(allowed_connections(conditions.max_connections))
    loop_deadline = asyncio.get_running_loop().time() + deadline - time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        # The longest first: what starts last should not be what takes longest.
        for polls_behind in sorted(behind.values(), key=lambda polls: -sum(len(p.requests) for p in polls)):
            gateway = Gateway(polls_behind, finish, pace)
            tasks.create_task(_read_gateway(gateway, conditions.locks, slots, loop_deadline))
    return [samples[poll] for poll in polls]


def _plan(meters: Iterable[EnergyMeter], types: Mapping[str, MeterType], conditions: Conditions) -> list[MeterPoll]:
    """Returns a poll per meter; one that cannot be planned has failed with CONFIGURATION."""
    plans = Plans(types)
    searched = {name for name, meter_type in types.items() if has_models(meter_type)}
    polls: list[MeterPoll] = []
    for meter in meters:
        known = tuple(conditions.refused.get(meter.id, ()))
        retries = 0 if meter.id in conditions.failing else RETRIES
        if meter.type not in types:
            poll = MeterPoll(meter, MeterType(meter.type), ())
            poll.fail(FailureKind.CONFIGURATION, f"type {meter.type} is not configured")
        elif meter.type in searched:
            place = conditions.models.get(meter.id)
            poll = ModelPoll(meter, types[meter.type], (), known, retries, plans=plans, known=place)
        else:
            plan = plans.requests(types[meter.type], avoided_requests(known))
            if isinstance(plan, str):
                poll = MeterPoll(meter, types[meter.type], ())
                poll.fail(FailureKind.CONFIGURATION, plan)
            else:
                poll = MeterPoll(meter, types[meter.type], plan, known, retries)
        polls.append(poll)
    return polls


async def _read_gateway(gateway: Gateway, locks: GatewayLocks, slots: asyncio.Semaphore, loop_deadline: float) -> None:
    """Reads all units behind a gateway as soon as a connection and its lock are free.

    While another run has the lock, the connection is left to other gateways.
    """
    hindrance: str | None = "all allowed connections were in use"
    try:
        async with asyncio.timeout_at(loop_deadline):
            while True:
                async with slots:
                    hindrance = None
                    if await locks.try_acquire(gateway.address):
                        try:
                            await gateway.read()
                        finally:
                            locks.release(gateway.address)
                        return
                    hindrance = f"another run is talking to {gateway.address}"
                await asyncio.sleep(_LOCK_RETRY_S)
    except TimeoutError:
        gateway.run_out_of_time(hindrance)
