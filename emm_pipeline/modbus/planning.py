"""Plan the requests that read all registers of a meter type at the lowest cost (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emm_pipeline.fleet import WORD_BYTES, FunctionCode, MeterType, model_header
from emm_pipeline.modbus.sunspec.models import locate
from emm_pipeline.readings import Request

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from emm_pipeline.fleet import Register
    from emm_pipeline.readings import UnsupportedRange

AddressRange = tuple[int, int]
"""Addresses from `start` to before `end`: `[start, end)`."""


def plan_requests(meter_type: MeterType, avoided: Collection[Request] = ()) -> tuple[Request, ...]:
    """Return the cheapest requests that read every measured register of the type, and the companions of their values.

    The cost of a request is the number of its registers plus `max_gap`. Therefore a gap of up to `max_gap` unwanted
    registers is read to save a request, if the request does not exceed `max_registers_per_request`; a larger gap is
    read only between a value and its companions, since a value and its scale factor must be of one moment. Of equally
    cheap plans, the one with fewer requests is used.

    Args:
        meter_type: The type.
        avoided: Registers that a unit does not support. No request covers one of these ranges completely, so values
            that contain one are omitted, and gaps that contain one are not read.

    Returns:
        The requests, sorted by function code and address; before them, those for companions that are not read together
        with their value. Every register is in at least one of them, except omitted ones.

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
    requests = tuple(
        _request(meter_type, function_code, start, end)
        for function_code in FunctionCode
        for start, end in _plan_function(meter_type, function_code, avoided)
    )
    return (*_plan_alone(meter_type, _companions_apart(meter_type, requests), avoided), *requests)


def _request(meter_type: MeterType, function_code: FunctionCode, start: int, end: int) -> Request:
    register_bytes = WORD_BYTES if function_code.reads_bits else meter_type.register_bytes
    return Request(function_code, start, end - start, register_bytes)


def _plan_function(
    meter_type: MeterType, function_code: FunctionCode, avoided: Collection[Request]
) -> list[AddressRange]:
    forbidden = _forbidden(avoided, function_code)
    limit = meter_type.max_registers_per_request
    wanted = [
        (header.register_address, header.end)
        for header in (model_header(*each) for each in meter_type.models)
        if header.function_code == function_code
    ]
    wanted += [
        _range(register, limit, forbidden)
        for register in meter_type.measured
        if register.function_code == function_code
    ]
    readable = [(start, end) for start, end in wanted if not _covers_one(start, end, forbidden)]
    return _cheapest_ranges(outermost(readable), forbidden, limit, meter_type.max_gap)


def _range(register: Register, limit: int, forbidden: Sequence[AddressRange]) -> AddressRange:
    """Return the range to read for a register, including its companions if one request can read all of them."""
    start, end = span(register)
    if end - start > limit or _covers_one(start, end, forbidden):
        start, end = register.register_address, register.end
    return start, end


def span(register: Register) -> AddressRange:
    """Return the registers from the first to the last that the value of a register needs."""
    ranges = [(each.register_address, each.end) for each in (register, *register.companions)]
    return min(start for start, _ in ranges), max(end for _, end in ranges)


def _companions_apart(meter_type: MeterType, requests: Sequence[Request]) -> list[Register]:
    """Return the companions that no request reads together with their value."""
    return [
        companion
        for register in meter_type.measured
        for companion in register.companions
        if not any(request.covers(register) and request.covers(companion) for request in requests)
    ]


def plan_confirmations(meter_type: MeterType, requests: Sequence[Request]) -> tuple[Request, ...]:
    """Return the requests that come last: for companions that were not read together with their value.

    If they bring the same as before, the companion did not change while the value was read.
    """
    apart = [each for each in _companions_apart(meter_type, requests) if any(r.covers(each) for r in requests)]
    return _plan_alone(meter_type, apart, ())


def plan_labels(meter_type: MeterType) -> tuple[Request, ...]:
    """Return the requests that read the texts about a meter."""
    return _plan_alone(meter_type, meter_type.labels, ())


def _plan_alone(
    meter_type: MeterType, registers: Sequence[Register], avoided: Collection[Request]
) -> tuple[Request, ...]:
    """Return requests for these registers only, without those that a unit does not support."""
    requests = []
    for function_code in FunctionCode if registers else ():
        forbidden = _forbidden(avoided, function_code)
        wanted = [(r.register_address, r.end) for r in registers if r.function_code == function_code]
        readable = outermost([each for each in wanted if not _covers_one(*each, forbidden)])
        limit = meter_type.max_registers_per_request
        for start, end in _cheapest_ranges(readable, forbidden, limit, meter_type.max_gap):
            requests.append(_request(meter_type, function_code, start, end))
    return tuple(requests)


def _forbidden(avoided: Collection[Request], function_code: FunctionCode) -> list[AddressRange]:
    return [(request.address, request.end) for request in avoided if request.function_code == function_code]


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
        self._confirmations: dict[tuple[int, int], tuple[Request, ...]] = {}
        self._labels: dict[int, tuple[Request, ...]] = {}
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

    def confirmations(self, meter_type: MeterType, requests: tuple[Request, ...]) -> tuple[Request, ...]:
        """Return the requests that confirm the companions of these requests, which are from `requests`."""
        key = id(meter_type), id(requests)  # the plans keep both
        if key not in self._confirmations:
            self._confirmations[key] = plan_confirmations(meter_type, requests)
        return self._confirmations[key]

    def label_requests(self, meter_type: MeterType) -> tuple[Request, ...]:
        """Return the requests for the texts about a meter; see `plan_labels`."""
        if id(meter_type) not in self._labels:
            self._labels[id(meter_type)] = plan_labels(meter_type)
        return self._labels[id(meter_type)]

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
