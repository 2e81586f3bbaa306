"""The status of every meter and part, computed at most every few seconds, however many browsers ask for it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from emm_pipeline.condition.parts import PipelineCondition, condition_seen_by_the_page
from emm_pipeline.status import State

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from emm_pipeline.condition.meters import MeterCondition

FRESH_S = 4.0
"""How long a result is used at least."""
_SHARE = 10
"""A result is used for this many times the duration of its computation, so that large fleets do not take all CPU."""

ORDER = (
    *(State.MISCONFIGURED, State.FAILING, State.STALE, State.DEGRADED, State.WAITING),
    *(State.NEW, State.OK, State.ASLEEP, State.DISABLED),
)
"""The order of the overview: states that need attention come first."""
_RANK = {state: rank for rank, state in enumerate(ORDER)}


@dataclass(frozen=True)
class FleetState:
    """The condition of everything at one time."""

    condition: PipelineCondition
    meters: Sequence[MeterCondition] = field(default_factory=tuple)
    """All meters, those that need attention first."""

    @cached_property
    def counts(self) -> dict[State, int]:
        """The number of meters by state, in the order of ORDER."""
        found = Counter(each.status.state for each in self.meters)
        return {state: found[state] for state in ORDER if found[state]}

    @cached_property
    def by_id(self) -> dict[int, MeterCondition]:
        """The meters by id."""
        return {each.id: each for each in self.meters if each.id is not None}


class FleetView:
    """Computes the state when it is asked for and the last one is too old. Several threads may use it.

    Args:
        compute: returns the present condition.
        clock: a monotonic clock in seconds.
    """

    def __init__(self, compute: Callable[[], PipelineCondition], clock: Callable[[], float] = time.monotonic) -> None:
        self._compute = compute
        self._clock = clock
        self._lock = threading.Lock()
        self._state: FleetState | None = None
        self._until = 0.0

    def get(self) -> FleetState:
        """Return the state, which is at most some seconds old."""
        state = self._state
        if state is not None and (self._clock() < self._until or self._lock.locked()):
            return state  # while another thread computes the next one, too
        with self._lock:
            if self._state is None or self._clock() >= self._until:
                began = self._clock()
                condition = self._compute()
                meters = sorted(condition.meters or (), key=_need)
                self._state = FleetState(condition, meters)
                now = self._clock()
                self._until = now + max(FRESH_S, _SHARE * (now - began))
            return self._state

    def forget(self) -> None:
        """Compute the state again when it is asked for, because something was changed."""
        with self._lock:
            self._state, self._until = None, 0.0


def fleet_view(settings: Callable[[], Any]) -> FleetView:
    """Return a view of the installation with these settings."""
    return FleetView(lambda: condition_seen_by_the_page(settings()))


def _need(meter: MeterCondition) -> tuple[int, bool, int]:
    return _RANK[meter.status.state], meter.id is None, meter.id or 0
