"""What is remembered of meters from sample to sample: what they refuse, and that they keep failing.

Without the configuration database nothing is remembered, and everything is asked for.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from emm_pipeline.config_db.device_state.failing_meters import load_failing, save_failing
from emm_pipeline.config_db.device_state.model_addresses import load_model_addresses, save_model_addresses
from emm_pipeline.config_db.device_state.unsupported_registers import load_unsupported, save_unsupported
from emm_pipeline.errors import ConfigDatabaseError
from emm_pipeline.polling.backoff import after, not_asked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

    from sqlalchemy import Engine

    from emm_pipeline.polling.plan import PollPlan
    from emm_pipeline.readings import FailingMeter, MeterReading, UnsupportedRange

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ScheduleSlot:
    """A sample's place on the schedule: when it was due (UTC), and how long before the next one.

    At a second attempt within the same sample, `again`, a failure is not counted a second time.
    """

    due: datetime
    interval: timedelta
    again: bool = False


@dataclass(slots=True)
class DeviceStates:
    """What is known of the meters of a plan, for one sample; without a turn, someone asks for all of them now."""

    plan: PollPlan
    turn: ScheduleSlot | None
    failing: Mapping[int, FailingMeter] = field(default_factory=dict)
    refused: Mapping[int, Sequence[UnsupportedRange]] = field(default_factory=dict)
    models: Mapping[int, Mapping[int, int]] = field(default_factory=dict)

    @property
    def keep_failing(self) -> frozenset[int]:
        """The meters that the schedule asks less often."""
        if self.turn is None:
            return frozenset()
        return frozenset(id_ for id_, failing in self.failing.items() if failing.keeps_failing)

    def not_due(self) -> dict[int, MeterReading]:
        """The meters that are not to be asked now, by id, with what there is to say of them."""
        if self.turn is None:
            return {}
        now = datetime.now(UTC)
        now = now.replace(microsecond=now.microsecond // 1000 * 1000)
        return {
            meter.id: not_asked(meter, failing, now)
            for meter in self.plan.meters
            if (failing := self.failing.get(meter.id)) and not failing.is_due(self.turn.due)
        }

    def changes(self, samples: Sequence[MeterReading]) -> dict[int, FailingMeter | None]:
        """What these samples change: by meter id how it fails, None for one that does no more."""
        changed: dict[int, FailingMeter | None] = {}
        for sample in samples:
            before = self.failing.get(sample.meter.id)
            if sample.blocks:
                now = None
            elif self.turn and not self.turn.again:
                now = after(sample, before, self.turn.due, self.turn.interval)
            else:
                now = before
            if now != before:
                changed[sample.meter.id] = now
        return changed


def load_device_states(engine: Engine, plan: PollPlan, turn: ScheduleSlot | None) -> DeviceStates:
    """Return what is known; nothing, with a warning, while the database does not answer."""
    try:
        now = datetime.now(UTC)
        refused = load_unsupported(engine, plan.meters, plan.types, now)
        models = load_model_addresses(engine, plan.meters, plan.types, now)
        return DeviceStates(plan, turn, load_failing(engine), refused, models)
    except ConfigDatabaseError as err:
        _log.warning("every meter is asked for everything: %s", err)
        return DeviceStates(plan, turn)


def save_device_states(engine: Engine, memory: DeviceStates, samples: Sequence[MeterReading]) -> None:
    """Keep what the samples tell; nothing, with a warning, while the database does not answer."""
    try:
        save_unsupported(engine, samples, memory.plan.types, datetime.now(UTC))
        save_failing(engine, memory.changes(samples))
        save_model_addresses(engine, samples, memory.plan.types)
    except ConfigDatabaseError as err:
        _log.warning("what this sample tells of failing meters is not remembered: %s", err)
