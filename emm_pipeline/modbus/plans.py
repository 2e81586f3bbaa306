"""The requests for each meter of a fleet, planned once for meters alike. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emm_pipeline.modbus.planning import plan_requests
from emm_pipeline.modbus.sunspec.models import locate
from emm_pipeline.readings import Request

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from emm_pipeline.fleet import MeterType
    from emm_pipeline.readings import UnsupportedRange


def avoided_requests(refused: Iterable[UnsupportedRange]) -> frozenset[Request]:
    """What no request may cover whole."""
    return frozenset(Request(each.function_code, each.address, each.count) for each in refused)


class Plans:
    """Plans by type and by what is to be avoided; types by where a device has its models."""

    def __init__(self, types: Mapping[str, MeterType]) -> None:
        self.types = types
        self._requests: dict[tuple[int, frozenset[Request]], tuple[Request, ...] | str] = {}
        self._located: dict[tuple[object, ...], MeterType] = {}

    def requests(self, meter_type: MeterType, avoided: Collection[Request]) -> tuple[Request, ...] | str:
        """The requests for a meter that refuses what is to be avoided, or why there are none.

        Args:
            meter_type: One of `types`, or what `located` returned: plans are kept by its identity.
            avoided: What the unit is known to refuse.
        """
        key = id(meter_type), frozenset(avoided)
        if key not in self._requests:
            self._requests[key] = _plan(meter_type, key[1])
        return self._requests[key]

    def located(self, name: str, addresses: Mapping[int, int], ends: Mapping[int, int] | None = None) -> MeterType:
        """The type of that name, as a device has it whose SunSpec models begin, and end, at these addresses."""
        key = name, tuple(sorted(addresses.items())), None if ends is None else tuple(sorted(ends.items()))
        if key not in self._located:
            self._located[key] = locate(self.types[name], addresses, ends)
        return self._located[key]


def _plan(meter_type: MeterType, avoided: Collection[Request]) -> tuple[Request, ...] | str:
    try:
        return (
            plan_requests(meter_type, avoided)
            or plan_requests(meter_type)
            or f"type {meter_type.name} has no registers"
        )
    except ValueError as err:
        return str(err)
