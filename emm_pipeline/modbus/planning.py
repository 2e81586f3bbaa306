"""Which requests read all registers of a meter type at the least cost. Pure arithmetic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emm_pipeline.fleet import FunctionCode, MeterType
from emm_pipeline.modbus.sunspec.models import locate
from emm_pipeline.readings import Request

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from emm_pipeline.readings import UnsupportedRange

AddressRange = tuple[int, int]
"""From an address to the one behind the last: `[start, end)`."""


def plan_requests(meter_type: MeterType, avoided: Collection[Request] = ()) -> tuple[Request, ...]:
    """Returns the cheapest requests that read every register of the type, and what its values need besides.

    A request costs `max_gap` registers more than the registers it reads. So a gap of up to `max_gap` unwanted
    registers is read to save a request, as long as the request fits `max_registers_per_request`; a larger
    gap never is. Of equally cheap plans the one of fewer requests is taken.

    Args:
        meter_type: The type.
        avoided: What a unit is known not to support. No request covers one of them whole, so that a value which does
            is left out, and a gap which is among them is not bridged.

    Returns:
        The requests, sorted by function code and address. Every register lies inside at least one of them, but for
        those left out.

    Raises:
        ValueError: A register is wider than `max_registers_per_request`.
    """
    limit = meter_type.max_registers_per_request
    for register in meter_type.asked:
        if register.count > limit:
            raise ValueError(
                f"type {meter_type.name}: {register.measurement_name} takes {register.count} registers, but "
                f"max_registers_per_request is {limit}; raise it, or remove the register"
            )
    return tuple(
        Request(function_code, start, end - start)
        for function_code in FunctionCode
        for start, end in _plan_function(meter_type, function_code, avoided)
    )


def _plan_function(
    meter_type: MeterType, function_code: FunctionCode, avoided: Collection[Request]
) -> list[AddressRange]:
    forbidden = [(request.address, request.end) for request in avoided if request.function_code == function_code]
    wanted = [(r.register_address, r.end) for r in meter_type.asked if r.function_code == function_code]
    readable = [(start, end) for start, end in wanted if not _covers_one(start, end, forbidden)]
    return _cheapest_ranges(outermost(readable), forbidden, meter_type.max_registers_per_request, meter_type.max_gap)


def _covers_one(start: int, end: int, ranges: Sequence[AddressRange]) -> bool:
    return any(start <= first and behind <= end for first, behind in ranges)


def outermost(ranges: Collection[AddressRange]) -> list[AddressRange]:
    """Returns the ranges without those that lie inside another one.

    Sorted; both starts and ends rise, so the ranges that one request covers are always neighbours.
    """
    outer: list[AddressRange] = []
    for start, end in sorted(ranges, key=lambda r: (r[0], -r[1])):
        if not outer or end > outer[-1][1]:
            outer.append((start, end))
    return outer


def _cheapest_ranges(
    ranges: Sequence[AddressRange], forbidden: Sequence[AddressRange], limit: int, request_cost: int
) -> list[AddressRange]:
    """Joins neighbouring ranges at the least total cost, none longer than `limit` and none over a forbidden one.

    Joining greedily is not optimal: under the limit it may cut at a narrow gap what is better cut at a wide
    one. So `best[n]` is the (cost, requests, start of the last request) for the first n ranges.
    """
    best = [(0, 0, 0)]
    for last, (_, end) in enumerate(ranges):
        options = []
        for first in range(last, -1, -1):
            start = ranges[first][0]
            length = end - start
            if length > limit or _covers_one(start, end, forbidden):
                break
            cost, requests, _ = best[first]
            options.append((cost + request_cost + length, requests + 1, first))
        best.append(min(options))

    joined = []
    behind = len(ranges)
    while behind:
        first = best[behind][2]
        joined.append((ranges[first][0], ranges[behind - 1][1]))
        behind = first
    return joined[::-1]


def avoided_requests(unsupported: Iterable[UnsupportedRange]) -> frozenset[Request]:
    """Returns the registers that no request may cover whole."""
    return frozenset(Request(each.function_code, each.address, each.count) for each in unsupported)


class Plans:
    """The requests of a fleet's meters, planned once for meters alike; types as SunSpec devices have them."""

    def __init__(self, types: Mapping[str, MeterType]) -> None:
        self.types = types
        self._requests: dict[tuple[int, frozenset[Request]], tuple[Request, ...] | str] = {}
        self._located: dict[tuple[object, ...], MeterType] = {}

    def requests(self, meter_type: MeterType, avoided: Collection[Request]) -> tuple[Request, ...] | str:
        """Returns the requests of a meter, or why there are none.

        Args:
            meter_type: One of `types`, or what `located` returned: plans are kept by its identity.
            avoided: What the unit is known not to support.
        """
        key = id(meter_type), frozenset(avoided)
        if key not in self._requests:
            self._requests[key] = _plan(meter_type, key[1])
        return self._requests[key]

    def located(self, name: str, addresses: Mapping[int, int], ends: Mapping[int, int] | None = None) -> MeterType:
        """Returns the type of that name, as a device has it whose SunSpec models begin, and end, at these addresses."""
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
