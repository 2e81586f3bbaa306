"""Plan the meter readings of a fleet: for each meter the requests, and what is known of the device. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emm_pipeline.fleet import EnergyMeter, MeterType
from emm_pipeline.modbus.last_requests import NOTHING_LAST, LastRequests
from emm_pipeline.modbus.meter_poll import RETRIES, MeterPoll
from emm_pipeline.modbus.planning import Plans
from emm_pipeline.modbus.sunspec.model_poll import ModelPoll
from emm_pipeline.modbus.sunspec.models import has_models
from emm_pipeline.modbus.unsupported import NOTHING_EARLIER, EarlierRequests, known_unsupported
from emm_pipeline.readings import FailureKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from emm_pipeline.modbus.conditions import Conditions
    from emm_pipeline.readings import Request


def plan_polls(
    meters: Iterable[EnergyMeter], types: Mapping[str, MeterType], conditions: Conditions
) -> list[MeterPoll]:
    """Return a poll per meter; a meter that cannot be planned has failed with CONFIGURATION."""
    planner = _Planner(types, conditions)
    return [planner.poll(meter) for meter in meters]


class _Planner:
    """Creates the poll of each meter. It runs for every meter of each fleet reading, so it must be fast."""

    def __init__(self, types: Mapping[str, MeterType], conditions: Conditions) -> None:
        self._types, self._conditions = types, conditions
        self._plans = Plans(types)
        self._searched = {name for name, meter_type in types.items() if has_models(meter_type)}

    def poll(self, meter: EnergyMeter) -> MeterPoll:
        """Return the poll of a meter."""
        conditions, number = self._conditions, meter.id
        if (meter_type := self._types.get(meter.type)) is None:
            return _failed(meter, MeterType(meter.type), f"type {meter.type} is not configured")
        known = tuple(conditions.unsupported.get(number, ()))
        retried, given = conditions.retried.get(number), conditions.given.get(number)
        earlier = EarlierRequests(tuple(retried or ()), tuple(given or ())) if retried or given else NOTHING_EARLIER
        keeps_failing = number in conditions.failing
        retries = 0 if keeps_failing else RETRIES
        manner = (known, retries, earlier, keeps_failing, number in conditions.silent)
        reads_labels = conditions.labels_known is not None and number not in conditions.labels_known
        if meter.type in self._searched:
            place = conditions.models.get(number)
            return ModelPoll(
                *(meter, meter_type, (), *manner), plans=self._plans, known=place, reads_labels=reads_labels
            )
        avoided = known_unsupported((*known, *earlier.silent), meter_type.asked) if known or retried else frozenset()
        plan = self._plans.requests(meter_type, avoided)
        if isinstance(plan, str):
            return _failed(meter, meter_type, plan)
        return MeterPoll(meter, meter_type, plan, *manner, self._last(meter_type, plan, reads_labels=reads_labels))

    def _last(self, meter_type: MeterType, plan: tuple[Request, ...], *, reads_labels: bool) -> LastRequests:
        confirmations = self._plans.confirmations(meter_type, plan)
        labels = self._plans.label_requests(meter_type) if reads_labels else ()
        return LastRequests(confirmations, labels) if confirmations or labels else NOTHING_LAST


def _failed(meter: EnergyMeter, meter_type: MeterType, reason: str) -> MeterPoll:
    poll = MeterPoll(meter, meter_type, ())
    poll.fail(FailureKind.CONFIGURATION, reason)
    return poll
