"""The energy of intervals against the true consumption of a simulated counter, for any sequence of events."""

from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emm_pipeline.energy.amounts import PER_KWH
from emm_pipeline.energy.computing import Known, Measured, compute
from emm_pipeline.energy.periods import Period, edges_between, midnight, milliseconds, moment_of, month_of, next_month
from emm_pipeline.energy.records import HOUR_MS, Counter, Flag, Readings, Series
from emm_pipeline.energy.rollup import roll_up
from emm_pipeline.energy.windows import window_of

BERLIN = ZoneInfo("Europe/Berlin")
SERIES = Series(1, "importActiveEnergy", "kWh")
BEGIN = 1_774_652_400_000 - 86_400_000
"""2026-03-27 00:00 in Berlin. The clocks are set forward two days later."""
STEPS = (0.001, 0.01, 0.1, 1.0)
MOST_KW = 40
REST = 5
"""Readings without an event between two events: a person could not tell apart what happens more often."""


@dataclass
class Device:
    """A counter that is read, with the energy that flowed between its readings."""

    step: float
    modulus_steps: int = 0
    true: float = 0.0
    offset: float = 0.0
    times: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    segments: int = 1
    """Number of devices, or of runs of the counter between resets."""
    measured: float = 0.0
    """The true consumption until the last right reading."""

    def read(self, time: int, shown: float | None = None) -> None:
        if shown is None:
            self.measured = self.true
        raw = int((self.true + self.offset) / self.step + 1e-6)
        if self.modulus_steps:
            raw %= self.modulus_steps
        self.times.append(time)
        self.values.append(raw * self.step if shown is None else shown)


@st.composite
def devices(draw, *, is_backwards=False) -> Device:
    """A device over some days, with events between stretches of ordinary readings."""
    step = draw(st.sampled_from(STEPS))
    rolls = draw(st.booleans())
    modulus = 10**8 if rolls else 0
    device = Device(step, modulus)
    device.offset = (modulus - 50) * step if rolls else draw(st.integers(2000, 10**6)) * 1.0
    time = BEGIN + draw(st.integers(0, 3 * HOUR_MS))
    interval = draw(st.sampled_from([10_000, 60_000, 300_000, 900_000]))

    def flow(elapsed: int) -> None:
        device.true += draw(st.integers(0, MOST_KW)) * elapsed / HOUR_MS

    def ordinary(count: int) -> None:
        nonlocal time
        for _ in range(count):
            device.read(time)
            elapsed = interval + draw(st.integers(-interval // 4, interval // 4))
            time += elapsed
            flow(elapsed)

    ordinary(REST)
    events = ["gap", *([] if rolls else ["zero", "glitch", "spike", "reset", "replaced"])]
    for event in draw(st.lists(st.sampled_from(events), max_size=5)):
        if event == "reset" and device.true + device.offset < 2 * MOST_KW:
            continue  # the old value is reached again as soon as after a glitch
        if event == "gap":
            elapsed = draw(st.integers(interval, 40 * HOUR_MS))
            time += elapsed
            flow(elapsed)
        elif event in {"zero", "glitch", "spike"}:
            for _ in range(draw(st.integers(1, max(1, min(5, 1_200_000 // interval))))):
                low = draw(st.integers(0, 500)) * 1.0
                low = low if low < device.true + device.offset - 1 else 0.0
                wrong = {"zero": 0.0, "glitch": low, "spike": 9e7 + device.true}[event]
                device.read(time, wrong)
                time += interval
                flow(interval)
        else:
            device.read(time)  # what flows between the last reading and the first of the next device is never known
            time += interval
            device.segments += 1
            coarse = 200 * (MOST_KW + step * HOUR_MS / interval)  # what could be the rise of a large plant
            new = 0.0 if event == "reset" else device.offset + device.true + coarse + draw(st.integers(5000, 100_000))
            device.offset = new - device.true
        ordinary(REST + (3 * HOUR_MS // interval if event in {"reset", "replaced"} else 0))
    if is_backwards:
        device.values = [-value for value in device.values]
    return device


def measured(device: Device) -> Measured:
    count = len(device.times)
    order = np.zeros(count, np.int64), np.array(device.times, np.int64), np.array(device.values)
    return Measured((SERIES,), Readings.of(*order))


def known(device: Device, **others: object) -> Known:
    units = round(device.step * PER_KWH)
    counter = Counter(units, round(device.modulus_steps * device.step * PER_KWH), **others)
    return Known({SERIES: counter}, usual_ms=1_800_000)


def hours_of(device: Device) -> list[int]:
    last = moment_of(device.times[-1], BERLIN).date()
    return edges_between(Period.HOUR, moment_of(BEGIN, BERLIN).date(), next_month(last), BERLIN)


@given(devices())
def test_the_hours_sum_to_the_true_consumption_within_a_step_of_the_register_and_none_is_negative(device):
    hours = compute(measured(device), known(device), hours_of(device)).energies
    assert hours.energy.sum() == pytest.approx(device.measured, abs=device.segments * (device.step + 1e-6) + 1e-6)
    assert (hours.energy >= 0).all()


@given(devices(is_backwards=True))
def test_a_meter_that_is_mounted_backwards_has_the_same_energy_with_the_other_sign(device):
    hours = compute(measured(device), known(device, counts_down=True), hours_of(device)).energies
    device.values = [-value for value in device.values]
    forwards = compute(measured(device), known(device), hours_of(device)).energies
    assert (hours.energy == -forwards.energy).all()


@given(devices())
def test_days_and_months_are_exactly_the_sum_of_their_hours_and_days(device):
    edges = hours_of(device)
    hours = compute(measured(device), known(device), edges).energies
    first, last = (moment_of(each, BERLIN).date() for each in (edges[0], edges[-1]))
    days = edges_between(Period.DAY, first, last, BERLIN)
    months = edges_between(Period.MONTH, month_of(first), last, BERLIN)
    by_day = roll_up(hours, days, edges)
    by_month = roll_up(by_day, months, [milliseconds(midnight(month_of(first), BERLIN)), *days])
    assert by_day.energy.sum() == hours.energy.sum() == by_month.energy.sum()
    for start, energy in zip(by_day.start, by_day.energy, strict=True):
        end = days[days.index(start) + 1]
        assert energy == hours.energy[(hours.start >= start) & (hours.start < end)].sum()


@given(devices())
def test_an_hour_computed_alone_from_the_readings_around_it_is_the_same_as_in_a_backfill(device):
    whole, edges = measured(device), hours_of(device)
    backfilled = compute(whole, known(device), edges).energies
    by_start = dict(zip(backfilled.start.tolist(), backfilled.energy.tolist(), strict=True))
    for start in sorted(by_start):
        alone = compute(around(whole, start, start + HOUR_MS), known(device), [start, start + HOUR_MS]).energies
        assert alone.energy.tolist() == [by_start[start]]


def around(whole: Measured, begin: int, end: int) -> Measured:
    """Return the window of an interval."""
    return Measured((SERIES,), window_of(whole.counters, [0], begin, end)[0])


@given(devices(), st.randoms(use_true_random=False))
def test_readings_that_come_late_change_nothing_once_all_are_there(device, random):
    order = list(range(len(device.times)))
    random.shuffle(order)
    late = Device(device.step, device.modulus_steps, device.true)
    late.times, late.values = ([column[each] for each in order] for column in (device.times, device.values))
    first = compute(measured(device), known(device), hours_of(device)).energies
    again = compute(measured(late), known(late), hours_of(device)).energies
    assert again.energy.tolist() == first.energy.tolist()
    assert again.flags.tolist() == first.flags.tolist()


def test_every_flag_has_a_text():
    assert len({flag.name for flag in Flag}) == len(Flag)
