"""Number and cost of the requests of a poll, compared with two other rules and with the minimum."""

from __future__ import annotations

import random
from itertools import combinations, pairwise

from benchmarks.results import Row, at_most
from emm_pipeline.catalog import load_catalogue
from emm_pipeline.fleet import DataType, FunctionCode, MeterType, Register
from emm_pipeline.modbus.planning import plan_requests
from emm_pipeline.modbus.sunspec.models import has_models

Ranges = list[tuple[int, int]]
INPUT = FunctionCode.READ_INPUT_REGISTERS
FILL = 50
"""Telegraf's default of `optimization_max_register_fill`."""


def requests(*, quick: bool) -> list[Row]:
    """Types of the catalogue and random register maps: how much the plan costs more than each rule, in the worst case.

    The cost is what the planner minimises: `max_gap` registers per request, plus the registers that it reads. Joining
    adjacent registers only never reads an unwanted register. Telegraf's `max_insert` bridges gaps of up to FILL
    registers as long as the request has room. Small maps are compared with the minimum over all possible requests.
    """
    chance = random.Random(1)  # noqa: S311
    types = [entry.meter_type for entry in load_catalogue().values() if not has_models(entry.meter_type)]
    types += [_random_type(chance, chance.randrange(2, 60), 400) for _ in range(40 if quick else 200)]
    small = [_random_type(chance, chance.randrange(2, 9), 60) for _ in range(20 if quick else 100)]
    adjacent = max(len(plan_requests(each)) - _count(each, 0) for each in types)
    adjacent_cost = max(_ours(each) - _cost(each, _greedy(each, 0)) for each in types)
    telegraf_cost = max(_ours(each) - _cost(each, _greedy(each, FILL)) for each in types)
    least = max(_ours(each) - _least(each) for each in small)
    maps = f"{len(types)} register maps"
    return [
        at_most(f"requests more than joining adjacent registers only, worst of {maps}", adjacent, "requests", 0),
        at_most(f"cost above joining adjacent registers only, worst of {maps}", adjacent_cost, "registers", 0),
        at_most(f"cost above Telegraf's max_insert, worst of {maps}", telegraf_cost, "registers", 0),
        at_most(f"cost above the minimum, worst of {len(small)} small register maps", least, "registers", 0),
    ]


def _random_type(chance: random.Random, registers: int, span: int) -> MeterType:
    addresses = sorted(chance.sample(range(0, span, 2), min(registers, span // 2)))
    rows = tuple(Register(a, f"r{a}", None, chance.choice([DataType.INT, DataType.FLOAT]), INPUT) for a in addresses)
    return MeterType("random", rows, chance.choice([20, 60, 80, 125]), chance.choice([0, 5, 20, 50]))


def _values(meter_type: MeterType, function_code: FunctionCode) -> Ranges:
    found = {(r.register_address, r.end) for r in meter_type.asked if r.function_code is function_code}
    return sorted(found)


def _greedy(meter_type: MeterType, fill: int) -> Ranges:
    """Requests that include the next value if it follows within `fill` registers and the request has room."""
    cut: Ranges = []
    for function_code in FunctionCode:
        start = end = None
        for first, behind in _values(meter_type, function_code):
            if start is None or end is None:
                start, end = first, behind
            elif first - end <= fill and behind - start <= meter_type.max_registers_per_request:
                end = max(end, behind)
            else:
                cut.append((start, end))
                start, end = first, behind
        if start is not None and end is not None:
            cut.append((start, end))
    return cut


def _count(meter_type: MeterType, fill: int) -> int:
    return len(_greedy(meter_type, fill))


def _cost(meter_type: MeterType, ranges: Ranges) -> int:
    return sum(meter_type.max_gap + end - start for start, end in ranges)


def _ours(meter_type: MeterType) -> int:
    return _cost(meter_type, [(request.address, request.end) for request in plan_requests(meter_type)])


def _least(meter_type: MeterType) -> int:
    """The minimum cost, found by trying all ways to divide the sorted values into requests."""
    values = _values(meter_type, INPUT)
    best = []
    for number in range(len(values)):
        for cuts in combinations(range(1, len(values)), number):
            edges = [0, *cuts, len(values)]
            groups = [values[a:b] for a, b in pairwise(edges)]
            ranges = [(group[0][0], max(end for _, end in group)) for group in groups]
            if all(end - start <= meter_type.max_registers_per_request for start, end in ranges):
                best.append(_cost(meter_type, ranges))
    return min(best)
