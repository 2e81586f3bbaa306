"""Plan the requests that read all registers of a meter type at the lowest cost (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emm_pipeline.fleet import FunctionCode, MeterType
from emm_pipeline.modbus.sunspec.models import locate
from emm_pipeline.readings import Request

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from emm_pipeline.readings import UnsupportedRange

AddressRange = tuple[int, int]
"""Addresses from `start` to before `end`: `[start, end)`."""


def plan_requests(meter_type: MeterType, avoided: Collection[Request] = ()) -> tuple[Request, ...]:
    """Return the cheapest requests that read every register of the type, and the registers that its values need.

    The cost of a request is the number of its registers plus `max_gap`. Therefore a gap of up to `max_gap` unwanted
    registers is read to save a request, if the request does not exceed `max_registers_per_request`; a larger gap is
    never read. Of equally cheap plans, the one with fewer requests is used.

    Args:
        meter_type: The type.
        avoided: Registers that a unit does not support. No request covers one of these ranges completely, so values
            that contain one are omitted, and gaps that contain one are not read.

    Returns:
        The requests, sorted by function code and address. Every register is in at least one of them, except omitted
        ones.

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
    """Return the ranges without those that are inside another one.

    They are sorted, and both starts and ends increase, so the ranges of one request are always adjacent in the list.
    """
    outer: list[AddressRange] = []
    for start, end in sorted(ranges, key=lambda r: (r[0], -r[1])):
        if not outer or end > outer[-1][1]:
            outer.append((start, end))
    return outer


def _cheapest_ranges(
    ranges: Sequence[AddressRange], forbidden: Sequence[AddressRange], limit: int, request_cost: int
) -> list[AddressRange]:
    """Join adjacent ranges at the lowest total cost; none exceeds `limit` or covers a forbidden range.

    A greedy algorithm is not optimal: because of the limit, it may separate ranges at a narrow gap where a wide one
    would be better. This is dynamic programming: `best[n]` is the (cost, requests, start of the last request) for the
    first n ranges.
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
    """Return the ranges that no request may cover completely."""
    return frozenset(Request(each.function_code, each.address, each.count) for each in unsupported)


class Plans:
    """The requests of a fleet's meters, planned once for equal meters, and types with their SunSpec addresses."""

    def __init__(self, types: Mapping[str, MeterType]) -> None:
        self.types = types
        self._requests: dict[tuple[int, frozenset[Request]], tuple[Request, ...] | str] = {}
        self._located: dict[tuple[object, ...], MeterType] = {}

    def requests(self, meter_type: MeterType, avoided: Collection[Request]) -> tuple[Request, ...] | str:
        """Return the requests of a meter, or the reason why there are none.

        Args:
            meter_type: One of `types`, or a result of `located`; plans are cached by its identity.
            avoided: Registers that the unit does not support.
        """
        key = id(meter_type), frozenset(avoided)
        if key not in self._requests:
            self._requests[key] = _plan(meter_type, key[1])
        return self._requests[key]

    def located(self, name: str, addresses: Mapping[int, int], ends: Mapping[int, int] | None = None) -> MeterType:
        """Return the type with this name for a device whose SunSpec models begin, and end, at these addresses."""
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
