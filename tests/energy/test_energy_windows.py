"""The energy of an hour depends on its readings only: not on when it was computed, or together with which others."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from emm_pipeline.energy.amounts import PER_KWH
from emm_pipeline.energy.computing import Known, Measured, compute
from emm_pipeline.energy.records import HOUR_MS, Counter, Readings, Series
from emm_pipeline.energy.windows import reach_of_all, window_of

BEGIN = 1_774_652_400_000
SERIES = Series(1, "importActiveEnergy", "kWh")
STEP = 0.01
COUNTERS = st.sampled_from(
    [
        Counter(),
        Counter(round(STEP * PER_KWH)),
        Counter(round(STEP * PER_KWH), max_power=15 * PER_KWH),
        Counter(round(STEP * PER_KWH), round(655.36 * PER_KWH)),
    ]
)
MOST_HOURS = 24 * 30


@st.composite
def readings(draw) -> Readings:
    """Readings at any distances whose values do anything: more than a device would do."""
    time, true, times, values = BEGIN, draw(st.sampled_from([0.0, 3.0, 650.0, 30_000.0])), [], []
    elapsed = st.sampled_from([10_000, 60_000, 900_000, 900_000, 900_000, HOUR_MS, 9 * HOUR_MS, 30 * HOUR_MS])
    event = st.sampled_from(["", "", "", "", "0", "low", "high", "reset", "jump", "tremble", "not a number"])
    for each in draw(st.lists(st.tuples(elapsed, event, st.integers(0, 3)), min_size=2, max_size=40)):
        time += each[0]
        true += each[2]
        true = {"reset": 0.0, "jump": true + 30_000, "tremble": true - STEP}.get(each[1], true)
        shown = {"0": 0.0, "low": true / 2, "high": true + 9e6, "not a number": np.nan}.get(each[1], true)
        times.append(time)
        values.append(shown)
    sign = draw(st.sampled_from([1, 1, 1, -1]))
    return of(times, [sign * value for value in values])


def of(times: list[int], values: list[float]) -> Readings:
    return Readings.of(np.zeros(len(times), np.int64), np.array(times, np.int64), np.array(values))


def part(whole: Readings, rows: np.ndarray) -> Readings:
    return Readings(whole.series[rows], whole.time[rows], whole.value[rows])


def hours(given: Readings, counter: Counter, edges: list[int]) -> dict[int, tuple]:
    """Compute hours; return everything about each, by its beginning."""
    found = compute(Measured((SERIES,), given), Known({SERIES: counter}, usual_ms=1_800_000), edges).energies
    columns = (found.energy, found.coverage, found.estimated, found.readings, found.flags)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return dict(zip(found.start.tolist(), rows, strict=True))


def edges_of(whole: Readings) -> list[int]:
    last = min(int(whole.time[-1]), BEGIN + MOST_HOURS * HOUR_MS)
    return list(range(BEGIN - 2 * HOUR_MS, last + 3 * HOUR_MS, HOUR_MS))


@given(readings(), COUNTERS, st.data())
def test_an_hour_is_the_same_alone_from_its_window_in_a_range_and_in_a_backfill(whole, counter, data):
    edges = edges_of(whole)
    backfilled = hours(whole, counter, edges)
    first, last = sorted(
        data.draw(
            st.tuples(
                *[st.integers(0, len(edges) - 1)] * 2,
            ),
            "range",
        )
    )
    some = edges[first : last + 1]
    if len(some) > 1:
        within = {start: row for start, row in backfilled.items() if some[0] <= start < some[-1]}
        assert hours(whole, counter, some) == within
    for start in data.draw(st.lists(st.sampled_from(edges[:-1]), max_size=8), "hours"):
        window = window_of(whole, [0], start, start + HOUR_MS)[0]
        alone = hours(window, counter, [start, start + HOUR_MS])
        assert alone == {each: row for each, row in backfilled.items() if each == start}


@given(readings(), COUNTERS, st.data())
def test_late_readings_change_no_hour_beyond_those_that_are_computed_again(whole, counter, data):
    numbers = st.integers(0, len(whole) - 1)
    first, last = sorted(data.draw(st.tuples(numbers, numbers), "first and last late reading"))
    rows = np.arange(len(whole))
    on_time = part(whole, (rows < first) | (rows > last))
    edges = edges_of(whole)
    before, after = hours(on_time, counter, edges), hours(whole, counter, edges)
    changed = {start for start in {*before, *after} if before.get(start) != after.get(start)}
    assert before.keys() <= after.keys(), "a stored energy is replaced"
    begin = int(whole.time[first]) // HOUR_MS * HOUR_MS
    end = int(whole.time[last]) // HOUR_MS * HOUR_MS + HOUR_MS
    again = reach_of_all(whole, begin, end, (begin, end))
    assert changed <= {start for start in edges if start + HOUR_MS > again.since and start <= again.until}
