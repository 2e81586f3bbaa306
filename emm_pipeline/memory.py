"""What is remembered of meters from sample to sample: what they refuse, and that they keep failing.

Without the configuration database nothing is remembered, and everything is asked for.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from emm_pipeline.backoff import Failing, after, not_asked
from emm_pipeline.config_db.failing_meters import load_failing, save_failing
from emm_pipeline.config_db.model_addresses import load_model_addresses, save_model_addresses
from emm_pipeline.config_db.refusals import load_refusals, save_refusals
from emm_pipeline.errors import ConfigDatabaseError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

    from sqlalchemy import Engine

    from emm_pipeline.outcomes import PollPlan
    from emm_pipeline.readings import MeterSample, RefusedRange

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Turn:
    """A sample's place on the schedule: when it was due (UTC), and how long before the next one.

    At a second attempt within the same sample, `again`, a failure is not counted a second time.
    """

    due: datetime
    interval: timedelta
    again: bool = False


@dataclass(slots=True)
class Memory:
    """What is known of the meters of a plan, for one sample; without a turn, someone asks for all of them now."""

    plan: PollPlan
    turn: Turn | None
    failing: Mapping[int, Failing] = field(default_factory=dict)
    refused: Mapping[int, Sequence[RefusedRange]] = field(default_factory=dict)
    models: Mapping[int, Mapping[int, int]] = field(default_factory=dict)

    @property
    def keep_failing(self) -> frozenset[int]:
        """The meters that the schedule asks less often."""
        if self.turn is None:
            return frozenset()
        return frozenset(id_ for id_, failing in self.failing.items() if failing.keeps_failing)

    def not_due(self) -> dict[int, MeterSample]:
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

    def changes(self, samples: Sequence[MeterSample]) -> dict[int, Failing | None]:
        """What these samples change: by meter id how it fails, None for one that does no more."""
        changed: dict[int, Failing | None] = {}
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


def recall(engine: Engine, plan: PollPlan, turn: Turn | None) -> Memory:
    """Return what is known; nothing, with a warning, while the database does not answer."""
    try:
        now = datetime.now(UTC)
        refused = load_refusals(engine, plan.meters, plan.types, now)
        models = load_model_addresses(engine, plan.meters, plan.types, now)
        return Memory(plan, turn, load_failing(engine), refused, models)
    except ConfigDatabaseError as err:
        _log.warning("every meter is asked for everything: %s", err)
        return Memory(plan, turn)


def learn(engine: Engine, memory: Memory, samples: Sequence[MeterSample]) -> None:
    """Keep what the samples tell; nothing, with a warning, while the database does not answer."""
    try:
        save_refusals(engine, samples, memory.plan.types, datetime.now(UTC))
        save_failing(engine, memory.changes(samples))
        save_model_addresses(engine, samples, memory.plan.types)
    except ConfigDatabaseError as err:
        _log.warning("what this sample tells of failing meters is not remembered: %s", err)
