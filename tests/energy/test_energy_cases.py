"""Energy of counters in cases from the field, each with its flag."""

from datetime import date
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from emm_pipeline.energy.amounts import PER_KWH
from emm_pipeline.energy.computing import Known, Measured, compute
from emm_pipeline.energy.periods import Period, edges_between
from emm_pipeline.energy.quality import (
    COUNTERS_RISE,
    COVERAGE,
    EXPORT_WITHIN_GENERATION,
    PHASES_MATCH_TOTAL,
    POWER_WITHIN_LIMIT,
    offenders,
)
from emm_pipeline.energy.records import HOUR_MS, Counter, Energies, Flag, Readings, Series, flags_of, flags_text
from emm_pipeline.energy.units import billed, is_energy_counter, power_of, unit_of_counter

NOON = 1_772_366_400_000
MINUTE = 60_000
METER = Series(1, "importActiveEnergy", "kWh")


def computed(values, *, edges=None, every=MINUTE, counter=None, kind="counter", start=NOON):  # noqa: PLR0913
    """Compute the energy of readings at equal distances; None is a missing one."""
    times = [start + every * number for number, value in enumerate(values) if value is not None]
    numbers = [value for value in values if value is not None]
    columns = np.zeros(len(times), np.int64), np.array(times, np.int64), np.array(numbers, float)
    readings = Readings.of(*columns)
    measured = Measured((METER,), readings) if kind == "counter" else Measured((), EMPTY, (METER,), readings)
    known = Known({METER: counter} if counter else {})
    return compute(measured, known, edges or [NOON, NOON + 24 * HOUR_MS])


EMPTY = Readings(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))


def energy(values, **options) -> float:
    return round(float(computed(values, **options).energies.energy.sum()), 6)


def flags(values, **options) -> str:
    total = np.bitwise_or.reduce(computed(values, **options).energies.flags)
    return flags_text(int(total) & ~Flag.INCOMPLETE)


def steady(first: float, count: int, step: float = 0.1) -> list[float]:
    return [round(first + step * number, 6) for number in range(count)]


@pytest.mark.parametrize("low", [0.0, 12000.0, 12345.4])
def test_a_counter_that_is_lower_for_a_moment_has_no_energy_for_it(low):
    values = [12345.6, 12345.7, low, 12345.7, 12345.9]
    assert energy(values) == 0.3
    assert flags(values) == "glitch"


def test_a_counter_that_is_0_for_some_polls_at_sunrise_and_one_that_is_much_too_high_once():
    values = [*steady(500.0, 30), *[0.0] * 20, *steady(502.9, 30)]
    assert energy(values) == 5.8
    assert flags(values) == "glitch"
    values = [*steady(500.0, 30), 4e8, 503.0, *steady(503.1, 30)]
    assert energy(values) == 6.0


@pytest.mark.parametrize("wrong", [0.0, 300.0, 4e8])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_readings_that_begin_within_a_glitch_that_comes_back_have_the_true_energy(wrong, count):
    later = [*steady(2396.5, 7), wrong, *steady(2397.2, 4), wrong, wrong, *steady(2397.6, 5)]
    assert energy([wrong] * count + later) == 1.5
    assert flags([wrong] * count + later) == "glitch"


@pytest.mark.parametrize("count", [1, 2, 5, 60])
@pytest.mark.parametrize("real", [800.0, 2396.5])
def test_a_counter_that_is_0_at_first_has_no_energy_for_its_real_value(real, count):
    assert energy([*[0.0] * count, *steady(real, 70)]) == 6.9
    assert energy([*[0.0] * count, real, real, 0.0, *steady(real, 70)]) == 6.9


def test_a_new_meter_counts_from_0_on_and_keeps_the_energy_of_its_first_hour():
    assert energy([*[0.0] * 5, *steady(0.1, 30)]) == 3.0
    assert energy([0.0, 0.0, 2.5, 3.5, 7.0, 9.5, 9.5, 11.0]) == 11.0


def test_a_counter_that_is_0_again_after_a_reset_until_little_flows_keeps_the_energy():
    assert energy([2000.0, *[0.0] * 7, 0.25, *[0.0] * 6, *[0.25] * 13], every=15 * MINUTE) == 0.5


def test_a_glitch_among_the_first_readings_is_one_also_if_the_counter_has_its_value_after_a_reset():
    values = [*[2000.0] * 5, 1.0, *[2000.0] * 6, *[0.0] * 116, 0.333, *[1.0] * 80]
    assert energy(values, counter=Counter(step=round(0.001 * PER_KWH))) == 1.0


def test_a_reset_and_a_glitch_in_the_first_hour_lose_nothing_of_what_was_counted_before_them():
    assert energy([*steady(500.0, 6), *steady(0.1, 10), 0.0, *steady(1.1, 60)]) == 7.4


def test_another_device_under_an_old_id_counts_from_its_first_value_on():
    values = [3.25, 3.5, *steady(48211.5, 90, 0.25)]
    assert energy(values) == 0.25 + 89 * 0.25
    assert flags(values) == "replaced"


def test_a_counter_that_was_reset_counts_from_the_new_value_on():
    values = [*steady(700.0, 30), *steady(0.0, 90)]
    assert energy(values) == round(2.9 + 8.9, 6)
    assert flags(values) == "reset"


def test_a_counter_that_fell_a_moment_ago_is_not_judged_yet_and_stays_open():
    result = computed([*steady(700.0, 30), 0.0, 0.0, 0.0])
    assert round(result.energies.energy.sum(), 6) == 2.9
    assert result.last == {METER: NOON + 29 * MINUTE}
    later = [*steady(700.0, 30), 0.0, 0.0, 0.0, *steady(703.2, 60)]
    assert energy(later) == round(703.2 + 5.9 - 700.0, 6)


def test_a_replacement_that_is_smaller_than_the_usual_jump_is_found_with_max_power_w():
    values = [*steady(100.0, 30, 0.01), *steady(900.0, 90, 0.01)]
    assert energy(values) > 800
    limited = Counter(round(0.01 * PER_KWH), max_power=20 * PER_KWH)
    assert energy(values, counter=limited) == round(0.29 + 0.89, 6)
    assert flags(values, counter=limited) == "replaced"


def test_a_register_that_has_passed_its_highest_value_continues_at_0():
    step = 0.1
    counter = Counter(round(step * PER_KWH), round(65536 * step * PER_KWH))
    values = [*steady(6553.0, 6), *steady(0.0, 90)]
    assert energy(values, counter=counter) == pytest.approx(6553.6 - 6553.0 + 8.9, abs=1e-5)
    assert flags(values, counter=counter) == "rollover"


def test_a_register_that_has_passed_its_highest_value_after_the_first_reading_has_the_energy_until_then():
    counter = Counter(step=round(0.001 * PER_KWH), modulus=round(100_000 * PER_KWH))
    assert energy([99_999.95, 0.0, 0.0, 0.011, 0.011], counter=counter) == 0.061


def test_a_counter_of_24_bit_floats_that_trembles_has_only_its_rise():
    values = [100000.0, 100000.016, 100000.008, 100000.016, 100000.008, 100000.023]
    assert energy(values) == 0.023
    assert flags(values) == ""


def test_a_large_plant_is_not_taken_for_a_replaced_device():
    values = steady(1000.0, 200, 80.0)  # 4.8 MW
    assert energy(values) == 199 * 80
    idle_then_full = [*[1000.0] * 60, *steady(1000.0, 120, 80.0)]
    assert energy(idle_then_full) == 119 * 80


def test_the_energy_of_a_gap_is_known_and_its_hours_are_estimated():
    values = [*steady(100.0, 31), *[None] * 179, *steady(106.0, 31)]  # a gap from 12:30 to 15:30
    edges = [NOON + HOUR_MS * hour for hour in range(5)]
    result = computed(values, edges=edges).energies
    assert result.energy.sum() == pytest.approx(9.0, abs=1e-6)
    assert [round(each, 3) for each in result.energy] == [3.5, 1.0, 1.0, 3.5]
    assert [round(each, 3) for each in result.estimated] == [0.5, 1.0, 1.0, 0.5]
    assert [flags_text(each) for each in result.flags] == ["estimated"] * 4
    assert [round(each) for each in result.coverage] == [50, 0, 0, 50]
    assert result.readings.tolist() == [31, 0, 0, 30]
    whole = computed(values, edges=[NOON, edges[-1]]).energies
    assert whole.estimated.tolist() == [0.0], "the gap is within the interval"


def test_an_edge_between_two_readings_divides_what_flowed_between_them():
    values = [100.0, 101.0]
    edges = [NOON, NOON + 15_000, NOON + HOUR_MS]
    result = computed(values, edges=edges).energies
    assert result.energy.tolist() == [0.25, 0.75]
    assert [bool(each & Flag.INCOMPLETE) for each in result.flags] == [False, True]


def test_a_meter_without_a_counter_has_the_integral_of_its_power():
    values = [6.0, 6.0, 6.0, 12.0]
    assert energy(values, kind="power") == pytest.approx(0.35, abs=1e-5)
    assert flags(values, kind="power") == "power"
    assert energy([-6.0, -6.0], kind="power") == pytest.approx(-0.1, abs=1e-5)
    assert energy([6.0, *[None] * 90, 6.0], kind="power") == 0, "what flowed in a long gap is not known"


def test_values_that_no_counter_has_are_ignored():
    assert energy([1.0, 2.0, float("inf"), float("nan"), 1e300, 3.0]) == 2.0


def test_no_readings_give_no_energy():
    assert len(computed([]).energies) == 0
    assert energy([5.0]) == 0.0


def test_hours_of_a_day_on_which_the_clocks_change():
    berlin = ZoneInfo("Europe/Berlin")
    spring = edges_between(Period.HOUR, date(2026, 3, 29), date(2026, 3, 30), berlin)
    autumn = edges_between(Period.HOUR, date(2026, 10, 25), date(2026, 10, 26), berlin)
    assert [len(spring) - 1, len(autumn) - 1] == [23, 25]
    assert (
        edges_between(Period.MONTH, date(2026, 1, 1), date(2026, 4, 1), berlin)[-1]
        == (edges_between(Period.DAY, date(2026, 3, 31), date(2026, 4, 1), berlin)[-1])
    )


def test_which_measurements_are_counters_follows_from_unit_and_name():
    assert unit_of_counter("Wh") == ("kWh", 0.001)
    assert unit_of_counter("Mvarh") == ("kvarh", 1000.0)
    assert unit_of_counter("W") is None
    assert is_energy_counter("importActiveEnergy", "Wh")
    assert not is_energy_counter("generatedEnergyToday", "kWh")
    assert power_of([("activePower", "W"), ("importReactiveEnergy", "kvarh")]) == ("activePower", "W")
    assert power_of([("activePower", "W"), ("energy", "kWh")]) is None
    assert billed(["importActiveEnergy", "importActiveEnergyL1", "exportActiveEnergy"]) == (
        "importActiveEnergy",
        "exportActiveEnergy",
    )
    assert billed(["heatPump"]) == ("heatPump", None)
    assert billed(["generatedEnergy"]) == (None, None)


def test_flags_are_stored_as_words():
    assert flags_text(Flag.RESET | Flag.ESTIMATED) == "reset,estimated"
    assert flags_of("reset,estimated,of a later version") == Flag.RESET | Flag.ESTIMATED
    assert flags_of(None) == 0


def rows(*given: tuple) -> Energies:
    """Energies of one hour: measurement, energy, coverage, flags."""
    series = tuple(Series(1, name, "kWh") for name, *_ in given)
    count = len(given)
    return Energies(
        series,
        np.arange(count),
        np.full(count, NOON),
        np.array([each[1] for each in given], float),
        np.array([each[2] if len(each) > 2 else 100.0 for each in given]),
        np.full(count, np.nan),
        np.zeros(count),
        np.full(count, 60),
        np.array([each[3] if len(each) > 3 else 0 for each in given], np.int64),
    )


@pytest.mark.parametrize(
    ("given", "check"),
    [
        ([("importActiveEnergy", 1.0, 89.0)], COVERAGE),
        ([("importActiveEnergy", 1.0, 100.0, int(Flag.RESET))], COUNTERS_RISE),
        (
            [("importActiveEnergy", 9.0), *((f"importActiveEnergyL{phase}", 2.0) for phase in (1, 2, 3))],
            PHASES_MATCH_TOTAL,
        ),
        ([("generatedEnergy", 3.0), ("exportActiveEnergy", 4.0)], EXPORT_WITHIN_GENERATION),
        ([("importActiveEnergy", 11.0)], POWER_WITHIN_LIMIT),
    ],
)
def test_each_check_names_the_interval_that_does_not_pass(given, check):
    found = {name: each for name, each in offenders(rows(*given), HOUR_MS, {1: 10.0}).items() if each}
    assert list(found) == [check]
    assert (found[check][0].meter_id, found[check][0].start) == (1, NOON)


def test_the_checks_pass_for_ordinary_energies():
    phases = [(f"importActiveEnergyL{phase}", 3.0) for phase in (1, 2, 3)]
    fine = rows(("importActiveEnergy", 9.05), *phases, ("generatedEnergy", 3.0), ("exportActiveEnergy", 3.05))
    assert not any(offenders(fine, HOUR_MS, {1: 10.0}).values())
