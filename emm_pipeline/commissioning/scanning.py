"""Which units reply behind a gateway: each gets one request, slowly, over one session."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from emm_pipeline.commissioning.identification import Candidate, identify
from emm_pipeline.commissioning.locating import read_labels
from emm_pipeline.modbus.gateway_locks import GatewayLocks, Unlocked, locked
from emm_pipeline.modbus.session import Session, Timing
from emm_pipeline.readings import FailureKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from emm_pipeline.catalog import CatalogueType
    from emm_pipeline.fleet import GatewayAddress
    from emm_pipeline.modbus.session import Reply
    from emm_pipeline.readings import Request

ABSENT = frozenset({10, 11})
"""Exceptions with which a gateway says that it has no path to the unit, or that the unit is silent."""

BUSY = frozenset({5, 6})

PATIENCE_S = 5.0
"""The timeout of a second request to the first unit that is silent.

A gateway that itself waits longer than our timeout is still busy with one unit when the request to the next one comes,
which then seems to be silent too. The second request shows how long the gateway takes.
"""

TURN_S = 5.0
"""For how long a scan keeps a gateway locked; then polls have their turn."""

_LEFT_TO_POLLS_S = 0.6
"""Polls look three times within that."""

_REPEAT_PAUSE_S = 0.3
"""Before a second request to a unit that is busy, or whose first one brought no valid reply."""

_MARGIN = 1.5

_REOPEN_PAUSES_S = (0.5, 1.0, 2.0)
"""A gateway that was there before, and is not now, may be back soon: a scan takes its time."""

_NO_REPLY = frozenset({FailureKind.CLOSED, FailureKind.INVALID_REPLY})


@dataclass(frozen=True, slots=True)
class FoundUnit:
    """A unit that replied: with what, how fast, and what it may be."""

    unit_id: int
    reply: Reply
    candidates: tuple[Candidate, ...] | None = None
    """None until it was compared with the catalogue."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """What it says of itself, if its likeliest type has such registers: name to text."""


@dataclass(slots=True)
class Scan:
    """The result of a scan so far; readable while it goes on, and after it was interrupted."""

    units: Sequence[int]
    asked: int = 0
    found: list[FoundUnit] = field(default_factory=list)
    unclear: dict[int, str] = field(default_factory=dict)
    """Units whose request brought neither a valid reply nor silence, and what instead."""
    slow_s: float | None = None
    """After how many seconds the first reply came for which the timeout was too short; it is longer since then."""
    was_patient: bool = False
    """Whether the long timeout was tried."""

    @property
    def all_reply(self) -> bool:
        """Whether so many units were asked, and all replied, that it must be one device that ignores the unit id."""
        return len(self.found) == self.asked > 10  # noqa: PLR2004 - more than share a bus by chance, all in a row


@dataclass(frozen=True, slots=True)
class Probe:
    """Where and how units are asked: for what, how patiently, and as which types they may be identified."""

    gateway: GatewayAddress
    request: Request
    timing: Timing
    types: Sequence[CatalogueType] = ()


@dataclass(frozen=True, slots=True)
class Watcher:
    """Callbacks: after each unit that was asked, and when a scan has to wait for a poll."""

    on_unit: Callable[[], None]
    on_wait: Callable[[], None] | None = None


async def scan(probe: Probe, state: Scan, locks: GatewayLocks, watcher: Watcher) -> None:
    """Sends a request to every unit of `state.units`, and writes into `state` what came of it.

    A unit is found by any reply, an exception too, except those that a gateway sends in place of an absent unit.

    Raises:
        ConnectError: The gateway cannot be reached, or no more; what was found before is in `state`.
    """
    session = Session(probe.gateway, probe.timing, reopen_pauses_s=_REOPEN_PAUSES_S)
    turn_s = math.inf if isinstance(locks, Unlocked) else TURN_S
    waiting = deque(state.units)
    while waiting:
        async with locked(locks, str(probe.gateway), watcher.on_wait):
            turn_ends = time.monotonic() + turn_s
            try:
                while waiting:
                    await _ask_unit(session, waiting.popleft(), probe, state)
                    watcher.on_unit()
                    if time.monotonic() >= turn_ends:
                        break
            finally:
                session.close()
        if waiting:
            await asyncio.sleep(_LEFT_TO_POLLS_S)


async def _ask_unit(session: Session, unit_id: int, probe: Probe, state: Scan) -> None:
    reply = await session.read(unit_id, probe.request)
    if reply.kind is FailureKind.TIMEOUT and not state.was_patient:
        reply = await _ask_patiently(session, unit_id, probe, state)
    elif reply.exception_code in BUSY or reply.kind in _NO_REPLY:
        await asyncio.sleep(_REPEAT_PAUSE_S)
        reply = await session.read(unit_id, probe.request)
    state.asked += 1
    if reply.kind in _NO_REPLY:
        state.unclear[unit_id] = reply.reason
    elif reply.kind is not FailureKind.TIMEOUT and reply.exception_code not in ABSENT:
        place = len(state.found)
        state.found.append(FoundUnit(unit_id, reply))  # found, also when what follows is interrupted
        candidates = await identify(lambda request: session.read(unit_id, request), probe.types)
        state.found[place] = found = FoundUnit(unit_id, reply, tuple(candidates))
        if candidates:
            likeliest = next(each for each in probe.types if each.name == candidates[0].type)
            labels = await read_labels(lambda request: session.read(unit_id, request), likeliest.meter_type)
            state.found[place] = replace(found, labels=labels)


async def _ask_patiently(session: Session, unit_id: int, probe: Probe, state: Scan) -> Reply:
    """Sends the unit a second request with a long timeout; if a reply comes late, so have all others from then on."""
    state.was_patient = True
    timeout_s = probe.timing.timeout_s
    session.timing = probe.timing._replace(timeout_s=max(PATIENCE_S, timeout_s))
    reply = await session.read(unit_id, probe.request)
    if reply.kind is not FailureKind.TIMEOUT and reply.seconds >= timeout_s:
        state.slow_s = reply.seconds
        timeout_s = reply.seconds * _MARGIN
    session.timing = probe.timing._replace(timeout_s=timeout_s)
    return reply
