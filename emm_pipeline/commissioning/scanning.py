"""Find the units that reply behind a gateway: each gets one request, with pauses, over one session."""

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
"""Exceptions with which a gateway reports that it has no path to the unit, or that the unit does not reply."""

BUSY = frozenset({5, 6})

PATIENCE_S = 5.0
"""The timeout of a second request to the first unit that is silent.

A gateway that itself waits longer than EMM's timeout is still busy with one unit when it receives the request to the
next one, which then seems to be silent too. The second request shows how long the gateway takes.
"""

TURN_S = 5.0
"""Time in seconds for which a scan keeps a gateway locked before it lets polls use it."""

_LEFT_TO_POLLS_S = 0.6
"""Time for which a scan lets polls use the gateway; a waiting poll tries three times within it."""

_REPEAT_PAUSE_S = 0.3
"""Pause before a second request to a unit that is busy, or whose first reply was invalid."""

RESEND_AFTER_S = 0.3
"""Time without a reply after which a request is sent again that the gateway has probably lost."""

_MARGIN = 1.5

_REOPEN_PAUSES_S = (0.5, 1.0, 2.0)
"""Pauses before attempts to reconnect: a gateway that answered before may answer again soon."""

_NO_REPLY = frozenset({FailureKind.CLOSED, FailureKind.INVALID_REPLY})


@dataclass(frozen=True, slots=True)
class FoundUnit:
    """A unit that replied, with its reply and its possible types."""

    unit_id: int
    reply: Reply
    candidates: tuple[Candidate, ...] | None = None
    """None until it was compared with the catalogue."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """The labels of the unit, name to text, if its likeliest type has any."""


@dataclass(slots=True)
class Scan:
    """The result of a scan so far, which can be read while the scan runs and after it was interrupted."""

    units: Sequence[int]
    asked: int = 0
    found: list[FoundUnit] = field(default_factory=list)
    advice: str | None = None
    """Advice about the replies of the unclear units, if their cause is known."""
    notices: list[str] = field(default_factory=list)
    """Notices about unusual replies that were accepted."""
    unclear: dict[int, str] = field(default_factory=dict)
    """Units that neither sent a valid reply nor were silent, with the reason."""
    slow_s: float | None = None
    """Time of the first reply that was slower than the timeout; longer timeouts are used since then."""
    was_patient: bool = False
    """Whether the long timeout has been tried."""
    replied: bool = False
    """Whether any reply came, also one that finds no unit."""
    perhaps_lost: list[int] = field(default_factory=list)
    """Units that were silent at the first request of a connection, which the gateway may have lost."""
    resend_after_s: float | None = None
    """If set, the first request of each connection is sent again after this time."""

    def take(self, other: Scan) -> None:
        """Replace its result by that of another scan."""
        for name in self.__slots__:
            setattr(self, name, getattr(other, name))

    @property
    def all_reply(self) -> bool:
        """Whether more than 10 units were asked and all replied: it is probably one device that ignores unit ids."""
        return len(self.found) == self.asked > 10  # noqa: PLR2004 - so many units without a gap are unlikely


@dataclass(frozen=True, slots=True)
class Probe:
    """The parameters of a scan: gateway, request, timing, and the types for identification."""

    gateway: GatewayAddress
    request: Request
    timing: Timing
    types: Sequence[CatalogueType] = ()


async def scan_any(
    probe: Probe, others: Sequence[GatewayAddress], state: Scan, locks: GatewayLocks, watcher: Watcher
) -> GatewayAddress:
    """Scan as `scan` does. If no unit replies, scan `others` instead of the probe's gateway, one after the other.

    If no reply came at all, ask the units behind the probe's gateway again, with two requests over each connection,
    because some gateways lose the first one.

    Returns:
        The gateway behind which units were found; that of the probe if there are none. What was found is in `state`.

    Raises:
        ConnectError: The gateway cannot be reached.
    """
    await scan(probe, state, locks, watcher)
    for gateway in others:
        if state.found:
            break
        another = Scan(state.units)
        watcher.on_other(gateway)
        await scan(replace(probe, gateway=gateway), another, locks, watcher)
        if another.found or (another.unclear and not state.replied and not state.unclear):
            state.take(another)
            return gateway
    if not state.replied and not state.unclear:
        again = Scan(state.units, was_patient=True, resend_after_s=RESEND_AFTER_S)
        watcher.on_again()
        await scan(probe, again, locks, watcher)
        if again.replied:
            state.take(again)
    return probe.gateway


@dataclass(frozen=True, slots=True)
class Watcher:
    """Callbacks of a scan.

    `on_unit` is called after each unit that was asked, `on_wait` when the scan waits for a poll, `on_other` when it
    tries another framing, and `on_again` when it asks all units again.
    """

    on_unit: Callable[[], None]
    on_wait: Callable[[], None] | None = None
    on_other: Callable[[GatewayAddress], None] = lambda _: None
    on_again: Callable[[], None] = lambda: None


async def scan(probe: Probe, state: Scan, locks: GatewayLocks, watcher: Watcher) -> None:
    """Send a request to every unit of `state.units`, and write the results to `state`.

    A unit is found if it sends any reply, including exceptions, except those that a gateway sends for an absent unit.

    Some gateways lose the first request of each connection. If the gateway is found to do so, the units that were
    silent before get another request.

    Raises:
        ConnectError: The gateway cannot be reached, or no longer; the units found before are in `state`.
    """
    session = Session(probe.gateway, probe.timing, reopen_pauses_s=_REOPEN_PAUSES_S)
    turn_s = math.inf if isinstance(locks, Unlocked) else TURN_S
    waiting = deque(state.units)
    asks_again = False
    while waiting or (session.loses_first_requests and state.perhaps_lost and not asks_again):
        if not waiting:
            waiting.extend(state.perhaps_lost)
            asks_again = True
        async with locked(locks, probe.gateway, watcher.on_wait):
            turn_ends = time.monotonic() + turn_s
            try:
                while waiting:
                    if await _ask_unit(session, waiting.popleft(), probe, state):
                        watcher.on_unit()
                    if time.monotonic() >= turn_ends:
                        break
            finally:
                session.close()
        if waiting:
            await asyncio.sleep(_LEFT_TO_POLLS_S)


async def _ask_unit(session: Session, unit_id: int, probe: Probe, state: Scan) -> bool:
    """Send a request to a unit; return whether that was the first time."""
    was_asked = unit_id in state.perhaps_lost
    may_be_lost = session.was_open and session.sends_first_request and session.loses_first_requests is None
    reply = await session.read(unit_id, probe.request, resend_after_s=state.resend_after_s)
    if reply.kind is FailureKind.TIMEOUT and not state.was_patient:
        reply = await _ask_patiently(session, unit_id, probe, state)
    elif reply.exception_code in BUSY or reply.kind in _NO_REPLY:
        await asyncio.sleep(_REPEAT_PAUSE_S)
        reply = await session.read(unit_id, probe.request)
    if may_be_lost and reply.kind is FailureKind.TIMEOUT and state.resend_after_s is None:
        state.perhaps_lost.append(unit_id)
    state.replied = session.has_replied
    state.asked += not was_asked
    state.notices += [notice for notice in reply.notices if notice not in state.notices]
    if reply.kind in _NO_REPLY:
        state.unclear[unit_id] = reply.reason
        state.advice = state.advice or reply.advice
    elif reply.kind is not FailureKind.TIMEOUT and reply.exception_code not in ABSENT:
        place = len(state.found)
        state.found.append(FoundUnit(unit_id, reply))  # added now, in case the identification is interrupted
        candidates = await identify(lambda request: session.read(unit_id, request), probe.types)
        state.found[place] = found = FoundUnit(unit_id, reply, tuple(candidates))
        if candidates:
            likeliest = next(each for each in probe.types if each.name == candidates[0].type)
            labels = await read_labels(lambda request: session.read(unit_id, request), likeliest.meter_type)
            state.found[place] = replace(found, labels=labels)
    return not was_asked


async def _ask_patiently(session: Session, unit_id: int, probe: Probe, state: Scan) -> Reply:
    """Send the unit a second request with a long timeout; if a late reply comes, use longer timeouts from then on."""
    state.was_patient = True
    timeout_s = probe.timing.timeout_s
    session.timing = probe.timing._replace(timeout_s=max(PATIENCE_S, timeout_s))
    reply = await session.read(unit_id, probe.request)
    if reply.kind is not FailureKind.TIMEOUT and reply.seconds >= timeout_s:
        state.slow_s = reply.seconds
        timeout_s = reply.seconds * _MARGIN
    session.timing = probe.timing._replace(timeout_s=timeout_s)
    return reply
