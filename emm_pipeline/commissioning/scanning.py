"""Which units answer behind a gateway: each is asked once, slowly, over one connection."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emm_pipeline.commissioning.identification import Candidate, identify
from emm_pipeline.modbus.reading import GatewayLocks, Unlocked
from emm_pipeline.modbus.session import Session, holding
from emm_pipeline.modbus.transport.tcp import ReadError
from emm_pipeline.readings import FailureKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from emm_pipeline.catalog import CatalogueType
    from emm_pipeline.modbus.session import Reply
    from emm_pipeline.readings import Request

ABSENT = frozenset({10, 11})
"""Exceptions with which a gateway says that there is no way to the unit, or that the unit is silent."""

BUSY = frozenset({5, 6})

PATIENCE_S = 5.0
"""How long the first unit that is silent is waited for once more.

A gateway that itself waits longer than our timeout is still busy with one unit while we ask the next, which then seems
to be silent too. So it is found out how long it takes.
"""

TURN_S = 5.0
"""For how long a scan keeps a gateway to itself; then polls have their turn."""

_LEFT_TO_POLLS_S = 0.6
"""Polls look three times within that."""

_PAUSE_BEFORE_ASKING_AGAIN_S = 0.3
"""Of a unit that is busy, or when the gateway closed the connection just then."""

_MARGIN = 1.5
_RECONNECT_PAUSES_S = (0.5, 2.0)


@dataclass(frozen=True, slots=True)
class FoundUnit:
    """A unit that answered: with what, how fast, and what it may be."""

    unit_id: int
    answer: Reply
    candidates: tuple[Candidate, ...] | None = None
    """None until it was compared with the catalogue."""


@dataclass(slots=True)
class Scan:
    """What has come of a scan so far; readable while it goes on, and after it was interrupted."""

    units: Sequence[int]
    asked: int = 0
    found: list[FoundUnit] = field(default_factory=list)
    unclear: dict[int, str] = field(default_factory=dict)
    """Units for which something came that is no answer, and what."""
    slow_s: float | None = None
    """After how long the first reply came for which the timeout was too short; it is longer since then."""
    was_patient: bool = False
    """Whether that was looked for."""

    @property
    def all_answer(self) -> bool:
        """Whether so many units were asked, and all answered, that it must be one device that ignores the unit id."""
        return len(self.found) == self.asked > 10  # noqa: PLR2004 - more than share a line by chance, all in a row


@dataclass(frozen=True, slots=True)
class Probe:
    """Where and how units are asked: for what, with how much patience, and as which types they may be identified."""

    host: str
    port: int
    request: Request
    timeout_s: float
    pause_s: float
    types: Sequence[CatalogueType] = ()


@dataclass(frozen=True, slots=True)
class Watcher:
    """Who looks on: told of each unit that was asked, and when a poll has to be waited for."""

    on_unit: Callable[[], None]
    on_wait: Callable[[], None] | None = None


async def scan(probe: Probe, state: Scan, locks: GatewayLocks, watcher: Watcher) -> None:
    """Asks every unit of `state.units`, and writes into `state` what came of it.

    Any reply counts as an answer, an exception too, but for those that a gateway gives in the place of an absent unit.

    Raises:
        ReadError: The gateway cannot be connected to, or no more; what was found before is in `state`.
    """
    line = Session(probe.host, probe.port, timeout_s=probe.timeout_s, pause_s=probe.pause_s)
    turn_s = math.inf if isinstance(locks, Unlocked) else TURN_S
    waiting = deque(state.units)
    while waiting:
        async with holding(locks, f"{probe.host}:{probe.port}", watcher.on_wait):
            turn_ends = time.monotonic() + turn_s
            try:
                while waiting:
                    await _ask_unit(line, waiting.popleft(), probe, state)
                    watcher.on_unit()
                    if time.monotonic() >= turn_ends:
                        break
            finally:
                line.close()
        if waiting:
            await asyncio.sleep(_LEFT_TO_POLLS_S)


async def _ask_unit(line: Session, unit_id: int, probe: Probe, state: Scan) -> None:
    answer = await _ask(line, unit_id, probe.request)
    if answer.kind is FailureKind.TIMEOUT and not state.was_patient:
        answer = await _ask_patiently(line, unit_id, probe, state)
    elif answer.exception_code in BUSY or answer.kind is FailureKind.INVALID_REPLY:
        await asyncio.sleep(_PAUSE_BEFORE_ASKING_AGAIN_S)
        answer = await _ask(line, unit_id, probe.request)
    state.asked += 1
    if answer.kind is FailureKind.INVALID_REPLY:
        state.unclear[unit_id] = answer.reason
    elif answer.kind is not FailureKind.TIMEOUT and answer.exception_code not in ABSENT:
        place = len(state.found)
        state.found.append(FoundUnit(unit_id, answer))  # found, also when what follows is interrupted
        candidates = await identify(lambda request: _ask(line, unit_id, request), probe.types)
        state.found[place] = FoundUnit(unit_id, answer, tuple(candidates))


async def _ask_patiently(line: Session, unit_id: int, probe: Probe, state: Scan) -> Reply:
    """Asks the unit once more, with time; if a reply comes, all others have as much from then on."""
    state.was_patient = True
    line.timeout_s = max(PATIENCE_S, probe.timeout_s)
    answer = await _ask(line, unit_id, probe.request)
    if answer.kind is FailureKind.TIMEOUT or answer.seconds < probe.timeout_s:
        line.timeout_s = probe.timeout_s
    else:
        state.slow_s = answer.seconds
        line.timeout_s = answer.seconds * _MARGIN
    return answer


async def _ask(line: Session, unit_id: int, request: Request) -> Reply:
    """Asks; a gateway that was there before, and is not now, has some moments to come back."""
    for pause_s in _RECONNECT_PAUSES_S if line.was_open else ():
        try:
            return await line.ask(unit_id, request)
        except ReadError:
            await asyncio.sleep(pause_s)
    return await line.ask(unit_id, request)
