"""Find the units that reply behind a gateway: each gets one request, with pauses, over one session.

The session stays open while units are silent. So the reply of a slow unit is noticed while others are asked, and only
this unit is asked again with a longer timeout. It is not identified, which would take minutes.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from emm_pipeline.commissioning.identification import identify
from emm_pipeline.commissioning.locating import read_labels
from emm_pipeline.commissioning.scan_state import FoundUnit, Probe, Scan, Watcher
from emm_pipeline.commissioning.twins import find_twin
from emm_pipeline.modbus.gateway_locks import GatewayLocks, Unlocked, locked
from emm_pipeline.modbus.session import Session
from emm_pipeline.readings import FailureKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from emm_pipeline.commissioning.identification import ReadUnit
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

LATE_S = 5.0
"""Time after the last request without a reply in which a late reply is awaited."""

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


async def scan(probe: Probe, state: Scan, locks: GatewayLocks, watcher: Watcher) -> None:
    """Send a request to every unit of `state.units`, and write the results to `state`.

    A unit is found if it sends any reply, including exceptions, except those that a gateway sends for an absent unit.

    Some gateways lose the first request of each connection. If the gateway is found to do so, the units that were
    silent before get another request.

    Raises:
        ConnectError: The gateway cannot be reached, or no longer; the units found before are in `state`.
    """
    scanner = _Scanner(probe, state, Session(probe.gateway, probe.timing, reopen_pauses_s=_REOPEN_PAUSES_S))
    session = scanner.session
    session.late.listens = state.resend_after_s is None
    turn_s = TURN_S if probe.is_shared and not isinstance(locks, Unlocked) else math.inf
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
                    if await scanner.ask_unit(waiting.popleft()):
                        watcher.on_unit()
                    if time.monotonic() >= turn_ends:
                        break
                await scanner.await_late_replies()
            finally:
                session.close()
        if waiting:
            await asyncio.sleep(_LEFT_TO_POLLS_S)


@dataclass(slots=True)
class _Scanner:
    """Asks units over one session, and writes what they reply to `state`."""

    probe: Probe
    state: Scan
    session: Session
    asked: set[int] = field(default_factory=set)
    silent_at: float = -math.inf
    """When the last unit was silent."""
    survives_silence: bool | None = None
    """Whether the gateway still replies on a connection after a unit was silent; None if that is unknown."""

    async def ask_unit(self, unit_id: int) -> bool:
        """Send a request to a unit; return whether that was the first time."""
        state, session = self.state, self.session
        is_first = unit_id not in self.asked
        self.asked.add(unit_id)
        may_be_lost = session.was_open and session.sends_first_request and session.loses_first_requests is None
        began = time.monotonic()
        reply = await session.read(unit_id, self.probe.request, resend_after_s=state.resend_after_s)
        is_silent = reply.kind is FailureKind.TIMEOUT
        if is_silent and not state.was_patient:
            reply = await self._ask_patiently(unit_id)
        elif not is_silent and (took_s := time.monotonic() - began) > session.timing.timeout_s:
            reply = await self._after_two_requests(unit_id, reply, took_s)
        elif reply.exception_code in BUSY or reply.kind in _NO_REPLY:
            await asyncio.sleep(_REPEAT_PAUSE_S)
            reply = await session.read(unit_id, self.probe.request)
        if may_be_lost and reply.kind is FailureKind.TIMEOUT and state.resend_after_s is None:
            state.perhaps_lost.append(unit_id)
        state.replied = session.has_replied
        state.asked += is_first
        await self._take(unit_id, reply, reply.seconds if reply.seconds > session.timing.timeout_s else None)
        if reply.kind is FailureKind.TIMEOUT:
            await self._note_silence(unit_id)
        await self._ask_late_units()
        return is_first

    async def _take(self, unit_id: int, reply: Reply, late_s: float | None = None) -> None:
        """Write the result of a request to `state`, and identify the unit if it replied in time."""
        state = self.state
        state.notices += [notice for notice in reply.notices if notice not in state.notices]
        if reply.kind in _NO_REPLY:
            state.unclear[unit_id] = reply.reason
            state.advice = state.advice or reply.advice
        elif reply.kind is not FailureKind.TIMEOUT and reply.exception_code not in ABSENT:
            read = self._reader(unit_id)
            found = FoundUnit(unit_id, reply, late_s=late_s)
            state.add(found)  # added now, in case the identification is interrupted
            if late_s is not None or state.is_unknown_device:
                return
            found = replace(found, same_as=await find_twin(read, state.found))
            if found.same_as is None:
                found = replace(found, candidates=tuple(await identify(read, self.probe.ranking)))
            state.add(found)
            if found.candidates:
                labels = await read_labels(read, found.candidates[0].entry.meter_type)
                state.add(replace(found, labels=labels))

    def _reader(self, unit_id: int) -> ReadUnit:
        async def read(request: Request) -> Reply:
            return await self.session.read(unit_id, request)

        return read

    async def _ask_patiently(self, unit_id: int) -> Reply:
        """Send the unit a second request with a long timeout.

        If the gateway reports only then that the unit is absent, all units get so much time.
        """
        self.state.was_patient = True
        reply = await self._read_patiently(unit_id)
        if (late_s := self.session.late.units.pop(unit_id, None)) and reply.kind is not FailureKind.TIMEOUT:
            reply = replace(reply, seconds=min(late_s, reply.seconds))  # that of the first request, without waiting
        if reply.exception_code in ABSENT and reply.seconds >= self.session.timing.timeout_s:
            self.state.slow_s = reply.seconds
            self.session.timing = self.session.timing._replace(timeout_s=reply.seconds * _MARGIN)
        return reply

    async def _after_two_requests(self, unit_id: int, reply: Reply, took_s: float) -> Reply:
        """Return the reply and its time where the request was sent twice: it is late, or the first one was lost."""
        if reply.seconds > RESEND_AFTER_S:
            return replace(reply, seconds=took_s)
        await asyncio.sleep(self.session.timing.timeout_s)  # a reply to the second request may come
        return await self._read_patiently(unit_id)

    async def _read_patiently(self, unit_id: int) -> Reply:
        usual = self.session.timing
        self.session.timing = usual._replace(timeout_s=max(PATIENCE_S, usual.timeout_s))
        try:
            return await self.session.read(unit_id, self.probe.request)
        finally:
            self.session.timing = usual

    async def _note_silence(self, unit_id: int) -> None:
        """Record a silent unit. After the first one, find out whether the connection can still be used."""
        self.state.silent.append(unit_id)
        self.silent_at = time.monotonic()
        known = next((each.unit_id for each in self.state.found if each.late_s is None), None)
        if self.survives_silence is None and known is not None and self.session.late.listens:
            reply = await self.session.read(known, self.probe.request)
            self.survives_silence = reply.kind is not FailureKind.TIMEOUT
            if not self.survives_silence:
                self.session.late.listens = False
                self.session.close()

    async def await_late_replies(self) -> None:
        """Wait for late replies of the units that were silent last."""
        while self.session.late.listens and time.monotonic() < self.silent_at + LATE_S - self.session.timing.timeout_s:
            await asyncio.sleep(_REPEAT_PAUSE_S)
            await self._ask_late_units()

    async def _ask_late_units(self) -> None:
        """Ask units whose replies came late again, with a longer timeout."""
        usual = self.session.timing
        for unit_id, seconds in self.session.late.take().items():
            if any(each.unit_id == unit_id for each in self.state.found):
                continue
            self.session.timing = usual._replace(timeout_s=max(usual.timeout_s, seconds * _MARGIN))
            reply = await self.session.read(unit_id, self.probe.request)
            await self._take(unit_id, reply, max(seconds, reply.seconds))
            if unit_id in self.state.silent and reply.kind is not FailureKind.TIMEOUT:
                self.state.silent.remove(unit_id)
            self.session.timing = usual
