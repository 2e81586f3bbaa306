"""Device state: data about meters that is kept between polls, such as unsupported registers and repeated failures.

It is kept in the configuration database. While the database does not answer, every meter is read completely.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from emm_pipeline.config_db.device_state.failing_meters import load_failing, save_failing
from emm_pipeline.config_db.device_state.meter_status import load_newest_reading
from emm_pipeline.config_db.device_state.model_addresses import load_model_addresses, save_model_addresses
from emm_pipeline.config_db.device_state.register_issues import load_accepted
from emm_pipeline.config_db.device_state.unsupported_registers import load_unsupported, save_unsupported
from emm_pipeline.errors import ConfigDatabaseError
from emm_pipeline.polling.backoff import after, not_asked

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import timedelta

    from sqlalchemy import Engine

    from emm_pipeline.polling.plan import PollPlan
    from emm_pipeline.readings import FailingMeter, MeterReading, UnsupportedRange

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ScheduleSlot:
    """A fleet reading's place on the schedule: its due time (UTC), and the interval until the next one.

    `again` marks the second attempt of the same reading, in which a failure is not counted a second time.
    """

    due: datetime
    interval: timedelta
    again: bool = False


@dataclass(slots=True)
class DeviceStates:
    """The device state of the meters of a plan. Without a slot, the reading is not scheduled, and all are due."""

    plan: PollPlan
    slot: ScheduleSlot | None
    failing: Mapping[int, FailingMeter] = field(default_factory=dict)
    unsupported: Mapping[int, Sequence[UnsupportedRange]] = field(default_factory=dict)
    models: Mapping[int, Mapping[int, int]] = field(default_factory=dict)
    accepted: Mapping[int, Collection[str]] = field(default_factory=dict)
    """By meter id the measurements whose absence a person has accepted."""
    newest_reading: datetime | None = None
    """Time (UTC) of the latest reading of any of the meters."""

    @property
    def keep_failing(self) -> frozenset[int]:
        """The meters that the schedule reads less often."""
        if self.slot is None:
            return frozenset()
        return frozenset(id_ for id_, failing in self.failing.items() if failing.keeps_failing)

    def not_due(self) -> dict[int, MeterReading]:
        """The meters that are not due, by id, each with a reading that contains the reason."""
        if self.slot is None:
            return {}
        now = datetime.now(UTC)
        now = now.replace(microsecond=now.microsecond // 1000 * 1000)
        return {
            meter.id: not_asked(meter, failing, now)
            for meter in self.plan.meters
            if (failing := self.failing.get(meter.id)) and not failing.is_due(self.slot.due)
        }

    def changes(self, readings: Sequence[MeterReading]) -> dict[int, FailingMeter | None]:
        """Return the changes by these readings: each meter's failure state by id, None if it has recovered."""
        changed: dict[int, FailingMeter | None] = {}
        for reading in readings:
            before = self.failing.get(reading.meter.id)
            if reading.blocks:
                now = None
            elif self.slot and not self.slot.again:
                now = after(reading, before, self.slot.due, self.slot.interval)
            else:
                now = before
            if now != before:
                changed[reading.meter.id] = now
        return changed


def load_device_states(engine: Engine, plan: PollPlan, slot: ScheduleSlot | None) -> DeviceStates:
    """Return the state of the meters; if the database does not answer, log a warning and return an empty state."""
    try:
        now = datetime.now(UTC)
        unsupported = load_unsupported(engine, plan.meters, plan.types, now)
        models = load_model_addresses(engine, plan.meters, plan.types, now)
        newest_reading = load_newest_reading(engine, [meter.id for meter in plan.meters])
        accepted = load_accepted(engine)
        return DeviceStates(plan, slot, load_failing(engine), unsupported, models, accepted, newest_reading)
    except ConfigDatabaseError as err:
        _log.warning("every meter is read completely, because device state could not be loaded: %s", err)
        return DeviceStates(plan, slot)


def save_device_states(engine: Engine, memory: DeviceStates, readings: Sequence[MeterReading]) -> None:
    """Save the changes by the readings; if the database does not answer, only log a warning."""
    try:
        save_unsupported(engine, readings, memory.plan.types, datetime.now(UTC))
        save_failing(engine, memory.changes(readings))
        save_model_addresses(engine, readings, memory.plan.types)
    except ConfigDatabaseError as err:
        _log.warning("device state was not saved: %s", err)
