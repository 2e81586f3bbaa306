"""Costs by time of use and across changes of the price, and what the configuration says about counters."""

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emm_pipeline.config_db.validation.tariffs import parse_weekdays
from emm_pipeline.energy.amounts import PER_KWH
from emm_pipeline.energy.computing import Known, Measured, compute
from emm_pipeline.energy.knowledge import knowledge_of
from emm_pipeline.energy.periods import Period, edges_between, midnight, milliseconds
from emm_pipeline.energy.prices import PriceRow, Tariff
from emm_pipeline.energy.records import Counter, Flag, Readings, Series
from emm_pipeline.energy.rollup import roll_up
from emm_pipeline.energy.shown import cents
from emm_pipeline.fleet import (
    CombinedMeasurement,
    DataType,
    EnergyMeter,
    Fleet,
    FunctionCode,
    MeterType,
    Part,
    Register,
)

BERLIN = ZoneInfo("Europe/Berlin")
BEGIN = date(2026, 3, 1)
METER = Series(1, "importActiveEnergy", "kWh")


def row(price, *, since=BEGIN, begin=(0, 0), end=(0, 0), weekdays="1-7", base=0.0, export=0.0) -> PriceRow:  # noqa: PLR0913
    return PriceRow(since, parse_weekdays(weekdays), time(*begin), time(*end), price, base, "EUR", export)


def at(day: int, hour: int = 12, minute: int = 0, month: int = 3) -> int:
    return milliseconds(datetime(2026, month, day, hour, minute, tzinfo=BERLIN))


NIGHT = [row(0.32), row(0.21, begin=(22, 0), end=(6, 0))]


def test_a_night_price_is_an_exception_to_the_price_of_the_day():
    tariff = Tariff(NIGHT, BERLIN)
    hours = [0, 5, 6, 12, 21, 22, 23]
    assert [tariff.price_at(at(4, hour)).price for hour in hours] == [0.21, 0.21, 0.32, 0.32, 0.32, 0.21, 0.21]


def test_a_weekend_price_applies_on_its_days_and_a_night_that_begins_on_sunday_until_monday():
    tariff = Tariff(
        [row(0.4, weekdays="1-5"), row(0.3, weekdays="6,7"), row(0.1, begin=(22, 0), end=(6, 0), weekdays="7")], BERLIN
    )
    prices = {time: tariff.price_at(time).price for time in (at(6), at(7), at(8, 21), at(8, 23), at(9, 5), at(9, 6))}
    assert list(prices.values()) == [0.4, 0.3, 0.3, 0.1, 0.1, 0.4]


def test_a_new_price_list_replaces_all_rows_of_the_one_before_from_its_day_on():
    tariff = Tariff([*NIGHT, row(0.35, since=date(2026, 3, 16), base=12.0)], BERLIN)
    assert tariff.price_at(at(15, 23)).price == 0.21
    assert tariff.price_at(at(16, 0)).price == 0.35
    assert tariff.price_at(at(1, 0, month=2)) is None


def test_a_base_price_that_changes_in_a_month_counts_by_days():
    tariff = Tariff([row(0.3, base=31.0), row(0.3, since=date(2026, 3, 11), base=62.0)], BERLIN)
    assert tariff.base_price(date(2026, 3, 1)) == pytest.approx(10 + 42)
    assert tariff.base_price(date(2026, 4, 1)) == 62.0


@pytest.mark.parametrize(
    ("text", "days"), [("1-5", {1, 2, 3, 4, 5}), ("6,7", {6, 7}), ("5-1", {5, 6, 7, 1}), ("3", {3})]
)
def test_weekdays_are_written_as_ranges_and_lists(text, days):
    assert parse_weekdays(text) == days


@pytest.mark.parametrize("text", ["", "0-3", "mon", "1-", "1 2"])
def test_other_texts_are_not_weekdays(text):
    with pytest.raises(ValueError, match="1 is Monday"):
        parse_weekdays(text)


def costs_of_march(tariff: Tariff, powers, *, measurement="importActiveEnergy", every=timedelta(minutes=15)):
    """Compute March: powers in kW by quarter of an hour, cyclically; return the hours and the true cost."""
    begin, end = milliseconds(midnight(BEGIN, BERLIN)), milliseconds(midnight(date(2026, 4, 1), BERLIN))
    step = round(every.total_seconds() * 1000)
    times = list(range(begin, end + step, step))
    quarters = [round(powers[number % len(powers)] * 250) for number in range(len(times) - 1)]  # Wh
    values = np.concatenate([[0], np.cumsum(quarters)]) / 1000 + 5000
    series = Series(1, measurement, "kWh")
    readings = Readings.of(np.zeros(len(times), np.int64), np.array(times), values)
    edges = edges_between(Period.HOUR, BEGIN, date(2026, 4, 1), BERLIN)
    known = Known({series: Counter(round(0.001 * PER_KWH))}, {1: tariff}, usual_ms=2_000_000)
    hours = compute(Measured((series,), readings), known, edges).energies
    return hours, edges, list(zip(times, quarters, strict=False))


@given(st.lists(st.floats(0, 40), min_size=1, max_size=97))
def test_time_of_use_and_a_price_change_in_mid_month_are_right_to_the_cent(powers):
    tariff = Tariff(
        [
            *NIGHT,
            row(0.3456, since=date(2026, 3, 17)),
            row(0.1999, since=date(2026, 3, 17), begin=(21, 45), end=(6, 15)),
        ],
        BERLIN,
    )
    hours, edges, quarters = costs_of_march(tariff, powers)
    truth = sum(Decimal(wh) / 1000 * Decimal(str(tariff.price_at(time).price)) for time, wh in quarters)
    days = edges_between(Period.DAY, BEGIN, date(2026, 4, 1), BERLIN)
    month = roll_up(roll_up(hours, days, edges), [days[0], days[-1]], days)
    # a truth of half a cent may be rounded either way
    assert cents(month.cost[0]) in {cents(float(truth) - 1e-6), cents(float(truth) + 1e-6)}
    assert month.cost[0] == hours.cost.sum(), "the cost of the month is exactly that of its hours"


def test_a_price_that_changes_within_an_hour_splits_the_hour():
    tariff = Tariff([row(1.0), row(3.0, begin=(12, 30), end=(13, 0))], BERLIN)
    hours, _, _ = costs_of_march(tariff, [4.0])
    by_start = dict(zip(hours.start.tolist(), hours.cost.tolist(), strict=True))
    assert by_start[at(4, 12)] == pytest.approx(2 * 1.0 + 2 * 3.0, abs=1e-6)
    assert by_start[at(4, 13)] == pytest.approx(4.0, abs=1e-6)


def test_energy_that_is_fed_in_is_a_credit_and_a_time_without_price_is_flagged():
    credit, _, _ = costs_of_march(Tariff([row(0.3, export=0.08)], BERLIN), [4.0], measurement="exportActiveEnergy")
    assert credit.cost[0] == pytest.approx(-0.32, abs=1e-6)
    unknown, _, _ = costs_of_march(Tariff([row(0.3, begin=(6, 0), end=(22, 0))], BERLIN), [4.0])
    night = unknown.start.tolist().index(at(4, 2))
    assert np.isnan(unknown.cost[night])
    assert unknown.flags[night] & Flag.NO_PRICE


ENERGY = Register(
    0, "importActiveEnergy", "Wh", DataType.UINT32, FunctionCode.READ_HOLDING_REGISTERS, scale=10.0, uses_factor=True
)
POWER = Register(2, "activePower", "W", DataType.FLOAT, FunctionCode.READ_HOLDING_REGISTERS)


def test_what_a_counter_can_show_follows_from_its_register():
    net = CombinedMeasurement("netEnergy", "kWh", (Part("importActiveEnergy", 1), Part("exportActiveEnergy", -1)))
    types = {"counts": MeterType("counts", (ENERGY,), combined=(net,)), "measures": MeterType("measures", (POWER,))}
    meters = (EnergyMeter(1, "a", 502, 1, "counts", factor=-40.0), EnergyMeter(2, "b", 502, 1, "measures"))
    rows = [
        {"id": 1, "description": " mains ", "max_power_w": 20_000.0, "tariff": "house"},
        {"id": 2, "description": None, "max_power_w": None, "tariff": "nothing"},
    ]
    prices = [
        {
            "name": "house",
            "valid_from": BEGIN,
            "weekdays": None,
            "from_time": None,
            "to_time": None,
            "price_per_kwh": Decimal("0.3"),
            "base_price_per_month": None,
            "currency": None,
            "export_price": None,
        },
        {
            "name": "bad",
            "valid_from": BEGIN,
            "weekdays": "8",
            "from_time": None,
            "to_time": None,
            "price_per_kwh": 1,
            "base_price_per_month": 0,
            "currency": "EUR",
            "export_price": 0,
        },
    ]
    known = knowledge_of(Fleet(meters, types), rows, prices, BERLIN)
    step = 0.01 * 40  # 10 Wh, and the transformers' ratio
    assert known.counters[METER] == Counter(
        round(step * PER_KWH), round(step * 2**32 * PER_KWH), counts_down=True, max_power=20 * PER_KWH
    )
    assert known.differences == {(1, "netEnergy")}
    assert known.powers == {("activePower", "W"): (2,)}
    assert known.descriptions == {1: "mains"}
    assert known.tariffs[1].price_at(at(4)).price == 0.3
    assert known.tariffs.keys() == {1}
    assert len(known.issues) == 2
    assert "tariff is 'nothing'" in known.issues[1]
    assert "'8'" in known.issues[0]
