"""Which requests read all registers of a meter type at the least cost. Pure arithmetic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emm_pipeline.fleet import FunctionCode, MeterType
from emm_pipeline.readings import Request

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

AddressRange = tuple[int, int]
"""From an address to the one behind the last: `[start, end)`."""


def plan_requests(meter_type: MeterType, refused: Collection[Request] = ()) -> tuple[Request, ...]:
    """Returns the cheapest requests that read every register of the type, and what its values need besides.

    A request costs `max_gap` registers more than the registers it reads. So a gap of up to `max_gap` unwanted
    registers is read to save a request, as long as the request fits `max_registers_per_request`; a larger
    gap never is. Of equally cheap plans the one of fewer requests is taken.

    Args:
        meter_type: The type.
        refused: What a unit is known to refuse. No request covers one of them whole, so that a value which does
            is left out, and a gap which is refused is not bridged.

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
        for start, end in _plan_function(meter_type, function_code, refused)
    )


def _plan_function(
    meter_type: MeterType, function_code: FunctionCode, refused: Collection[Request]
) -> list[AddressRange]:
    forbidden = [(request.address, request.end) for request in refused if request.function_code == function_code]
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
