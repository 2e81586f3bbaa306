"""Which requests read all registers of a meter type at the least cost. Pure arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from emm_pipeline.fleet import FunctionCode, MeterType, Register

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, order=True)
class Request:
    """A read of `count` registers from `address` on."""

    function_code: FunctionCode
    address: int
    count: int

    @property
    def end(self) -> int:
        """The address behind the last register read."""
        return self.address + self.count

    def covers(self, register: Register) -> bool:
        """Whether the reply holds every word of the register's value."""
        return (
            register.function_code == self.function_code
            and self.address <= register.register_address
            and register.end <= self.end
        )

    def __str__(self) -> str:
        registers = f"registers {self.address}-{self.end - 1}" if self.count > 1 else f"register {self.address}"
        return f"function {self.function_code.value}, {registers}"


def plan_requests(meter_type: MeterType) -> tuple[Request, ...]:
    """Returns the cheapest requests that read every register of the type.

    A request costs `max_gap` registers more than the registers it reads. So a gap of up to `max_gap` unwanted
    registers is read to save a request, as long as the request fits `max_registers_per_request`; a larger
    gap never is. Of equally cheap plans the one of fewer requests is taken.

    Returns:
        The requests, sorted by function code and address. Every register lies inside at least one of them.

    Raises:
        ValueError: A register is wider than `max_registers_per_request`.
    """
    limit = meter_type.max_registers_per_request
    for register in meter_type.registers:
        if register.count > limit:
            raise ValueError(
                f"type {meter_type.name}: {register.measurement_name} takes {register.count} registers, but "
                f"max_registers_per_request is {limit}; raise it, or remove the register"
            )
    return tuple(
        Request(function_code, start, end - start)
        for function_code in FunctionCode
        for start, end in _cheapest_ranges(
            _outermost([r for r in meter_type.registers if r.function_code == function_code]),
            limit,
            meter_type.max_gap,
        )
    )


def _outermost(registers: Sequence[Register]) -> list[tuple[int, int]]:
    """Returns the ranges `[start, end)` of the registers, without those that lie inside another one.

    Sorted; both starts and ends rise, so the ranges that one request covers are always neighbours.
    """
    ranges: list[tuple[int, int]] = []
    for start, end in sorted(((r.register_address, r.end) for r in registers), key=lambda r: (r[0], -r[1])):
        if not ranges or end > ranges[-1][1]:
            ranges.append((start, end))
    return ranges


def _cheapest_ranges(ranges: Sequence[tuple[int, int]], limit: int, request_cost: int) -> list[tuple[int, int]]:
    """Joins neighbouring ranges at the least total cost, none longer than `limit`.

    Joining greedily is not optimal: under the limit it may cut at a narrow gap what is better cut at a wide
    one. So `best[n]` is the (cost, requests, start of the last request) for the first n ranges.
    """
    best = [(0, 0, 0)]
    for last, (_, end) in enumerate(ranges):
        options = []
        for first in range(last, -1, -1):
            length = end - ranges[first][0]
            if length > limit:
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
