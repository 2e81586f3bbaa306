"""Device state: data about meters that is kept between polls, such as unsupported registers and repeated failures.

It is kept in the configuration database. While the database does not answer, every meter is read completely.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from emm_pipeline.config_db.device_state.failing_meters import load_failing, load_silent, save_failing, save_silent
from emm_pipeline.config_db.device_state.given_registers import load_given, save_given
from emm_pipeline.config_db.device_state.meter_labels import load_labels_known, save_labels
from emm_pipeline.config_db.device_state.meter_status import load_counters, load_newest_reading
from emm_pipeline.config_db.device_state.model_addresses import load_model_addresses, save_model_addresses
from emm_pipeline.config_db.device_state.register_issues import load_accepted
from emm_pipeline.config_db.device_state.unsupported_registers import (
    forget_given,
    forget_read,
    load_refused,
    save_unsupported,
)
from emm_pipeline.config_db.engine import connected
from emm_pipeline.errors import ConfigDatabaseError
from emm_pipeline.modbus.fleet_reading import Conditions
from emm_pipeline.modbus.silences import SILENCE
from emm_pipeline.polling import counters
from emm_pipeline.polling.backoff import after, not_asked

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import timedelta

    from sqlalchemy import Engine

    from emm_pipeline.failing import FailingMeter
    from emm_pipeline.fleet import EnergyMeter
    from emm_pipeline.polling.counters import Counters
    from emm_pipeline.polling.plan import PollPlan
    from emm_pipeline.readings import GivenRange, MeterReading, Request, UnsupportedRange

    _Ranges = dict[int, tuple[UnsupportedRange, ...]]

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
    refused: Mapping[int, Sequence[UnsupportedRange]] = field(default_factory=dict)
    """Registers that each meter did not give when they were requested last."""
    given: Mapping[int, Sequence[GivenRange]] = field(default_factory=dict)
    silent: frozenset[int] = frozenset()
    models: Mapping[int, Mapping[int, int]] = field(default_factory=dict)
    accepted: Mapping[int, Collection[str]] = field(default_factory=dict)
    """By meter id the measurements whose absence a person has accepted."""
    counters: Mapping[int, Counters] = field(default_factory=dict)
    """By meter id the highest values of its energy counters."""
    newest_reading: datetime | None = None
    """Time (UTC) of the latest reading of any of the meters."""
    labels_known: Collection[int] | None = None
    """The meters whose labels need not be read; None if that is unknown: then no labels are read."""
    is_loaded: bool = True
    """False if the database did not answer: every wait for it would delay the reading."""

    def left_out(self, now: datetime) -> tuple[_Ranges, _Ranges]:
        """Return by meter id which registers are not requested, and which are although they were refused last time.

        A poll that a person starts requests every register that the meter gave before.
        """
        left_out: _Ranges = {}
        retried: _Ranges = {}
        for id_, ranges in self.refused.items():
            for each in ranges:
                by_hand = self.slot is None and each.is_temporary
                kind = retried if by_hand or each.tried_again_at <= now else left_out
                kind[id_] = (*kind.get(id_, ()), each)
        return left_out, retried

    def conditions(self, max_connections: int | None) -> Conditions:
        """Return what the next reading has to respect."""
        left_out, retried = self.left_out(datetime.now(UTC))
        return Conditions(
            max_connections,
            unsupported=left_out,
            failing=self.keep_failing,
            models=self.models,
            retried=retried,
            given=self.given,
            silent=self.silent,
            labels_known=self.labels_known,
        )

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

    def reported(self, readings: Sequence[MeterReading]) -> Sequence[MeterReading]:
        """Return the readings that count: at a second attempt, without the meters that were not due."""
        if self.slot is None or not self.slot.again:
            return readings
        not_due = self.not_due()
        return [reading for reading in readings if reading.meter.id not in not_due]

    def changes(self, readings: Sequence[MeterReading]) -> dict[int, FailingMeter | None]:
        """Return the changes by these readings: each meter's failure state by id, None if it has recovered."""
        changed: dict[int, FailingMeter | None] = {}
        for reading in readings:
            before = self.failing.get(reading.meter.id)
            if reading.blocks:
                if before is None:
                    continue
                now = None
            elif self.slot and not self.slot.again:
                now = after(reading, before, self.slot.due, self.slot.interval)
            else:
                now = before
            if now != before:
                changed[reading.meter.id] = now
        return changed

    def silence(self, readings: Sequence[MeterReading]) -> dict[int, bool]:
        """Return the changes by these readings: by meter id whether the meter was silent."""
        changed = {}
        for reading in readings:
            before = reading.meter.id in self.silent
            if reading.blocks:
                now = False
            elif reading.requests:
                now = reading.failure is not None and reading.failure.kind in SILENCE
            else:
                continue
            if now is not before:
                changed[reading.meter.id] = now
        return changed

    def after(self, readings: Sequence[MeterReading]) -> DeviceStates:
        """Return the state after these readings, if they have changed nothing but failures and silence."""
        changes, silence = self.changes(readings), self.silence(readings)
        if not changes and not silence:
            return self
        failing = {**self.failing, **changes}
        silent = {**dict.fromkeys(self.silent, True), **silence}
        return replace(
            self,
            failing={id_: state for id_, state in failing.items() if state},
            silent=frozenset(id_ for id_, is_silent in silent.items() if is_silent),
        )


def load_device_states(engine: Engine, plan: PollPlan, slot: ScheduleSlot | None) -> DeviceStates:
    """Return the state of the meters; if the database does not answer, log a warning and return an empty state."""
    now, ids = datetime.now(UTC), [meter.id for meter in plan.meters]
    of_plan = plan.meters, plan.types
    try:
        with connected(engine) as database:
            return DeviceStates(
                plan,
                slot,
                failing=load_failing(database, ids),
                refused=load_refused(database, *of_plan, now),
                given=load_given(database, *of_plan),
                silent=load_silent(database, ids),
                models=load_model_addresses(database, *of_plan, now),
                accepted=load_accepted(database, ids),
                counters={id_: counters.load(text) for id_, text in load_counters(database, ids).items()},
                newest_reading=load_newest_reading(database, ids),
                labels_known=load_labels_known(database, *of_plan, now),
            )
    except ConfigDatabaseError as err:
        _log.warning("every meter is read completely, because device state could not be loaded: %s", err)
        return DeviceStates(plan, slot, is_loaded=False)


def save_device_states(engine: Engine, memory: DeviceStates, readings: Sequence[MeterReading]) -> bool:
    """Save the changes by the readings; if the database does not answer, only log a warning.

    Returns:
        Whether the state must be loaded again: something other than failures and silence has changed, or is not saved.
    """
    types = memory.plan.types
    try:
        save_silent(engine, memory.silence(readings))
        save_failing(engine, memory.changes(readings))
        saved = [
            save_unsupported(engine, readings, types, datetime.now(UTC)),
            forget_given(engine, memory.refused, readings),
            save_given(engine, readings, types, memory.given),
            save_model_addresses(engine, readings, types),
            save_labels(engine, readings, types),
        ]
    except ConfigDatabaseError as err:
        _log.warning("device state was not saved: %s", err)
        return True
    return any(saved)


def forget_what_was_read(engine: Engine, given: Mapping[EnergyMeter, Sequence[Request]]) -> None:
    """Delete the refused registers that a check has read; the next polls request them again."""
    try:
        forget_read(engine, {meter.id: requests for meter, requests in given.items()})
    except ConfigDatabaseError as err:
        _log.warning("device state was not saved: %s", err)
