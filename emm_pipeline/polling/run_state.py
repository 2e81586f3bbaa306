"""The state of a run that its process keeps from one fleet reading to the next.

Device state is loaded once per run, and again only after a reading that has changed it. Without a run, it is loaded for
each reading.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from emm_pipeline.polling.counters import CounterComparison, compare
from emm_pipeline.polling.device_state import load_device_states, save_device_states

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from sqlalchemy import Engine

    from emm_pipeline.polling.counters import Counters
    from emm_pipeline.polling.device_state import DeviceStates, ScheduleSlot
    from emm_pipeline.polling.plan import PollPlan
    from emm_pipeline.readings import MeterReading


@dataclass(slots=True)
class RunState:
    """The state of one run. The counters are those after its last reading; the run saves them at its end."""

    _states: DeviceStates | None = None
    _is_prepared: bool = False
    """Whether the database was just asked for the next reading, even if it did not answer."""
    _counters: dict[int, Counters] = field(default_factory=dict)

    def device_states(self, engine: Engine, plan: PollPlan, slot: ScheduleSlot | None) -> DeviceStates:
        """Return the device state of the meters of a plan; if the database does not answer, an empty one."""
        is_prepared, self._is_prepared = self._is_prepared, False
        is_known = self._states is not None and (self._states.is_loaded or is_prepared)
        if self._states is None or not is_known or not _includes(self._states.plan, plan):
            self._states = load_device_states(engine, plan, slot)
            return self._states
        return replace(self._states, plan=plan, slot=slot)

    def prepare(self, engine: Engine, plan: PollPlan, slot: ScheduleSlot | None) -> None:
        """Load the device state for the next reading.

        If the database does not answer, which takes seconds, the reading does not ask it again.
        """
        self.device_states(engine, plan, slot)
        self._is_prepared = True

    def save(self, engine: Engine, states: DeviceStates, readings: Sequence[MeterReading]) -> None:
        """Save what the readings have changed."""
        if save_device_states(engine, states, readings):
            self._states = None
        elif self._states:
            self._states = replace(states.after(readings), plan=self._states.plan)

    def compare_counters(
        self, readings: Sequence[MeterReading], frame: pd.DataFrame, plan: PollPlan, states: DeviceStates | None
    ) -> CounterComparison:
        """Compare the counters with those before. If these are unknown, none are compared, and none are to be saved."""
        if states is None or not states.is_loaded:
            return CounterComparison()
        found = compare(readings, frame, plan.types, {**states.counters, **self._counters}, datetime.now(UTC))
        self._counters |= found.after
        return found


def _includes(known: PollPlan, plan: PollPlan) -> bool:
    """Whether a plan is another one, or a part of it: a second attempt reads some of the meters."""
    return plan is known or (plan.types is known.types and set(plan.meters) <= set(known.meters))


_of_run: dict[str, RunState] = {}
"""The state of the run that this process executes."""


def state_of(run: str) -> RunState:
    """Return the state of the run that this process executes; that of another run is forgotten."""
    if run not in _of_run:
        _of_run.clear()
        _of_run[run] = RunState()
    return _of_run[run]
