"""Price lists of tariffs: what is accepted, and that a change writes the whole list or nothing."""

from datetime import date, time
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emm_pipeline.config_db.editing.meter_rows import edit_meter
from emm_pipeline.config_db.editing.tariffs import (
    find_price_list,
    load_price_lists,
    load_tariff_users,
    remove_price_lists,
    write_price_list,
)
from emm_pipeline.config_db.validation.tariffs import Price, PriceList, check_price_list, parse_weekdays
from emm_pipeline.errors import ConfigurationError

JANUARY, MARCH = date(2026, 1, 1), date(2026, 3, 1)
HEAD = {"name": "house", "valid_from": "2026-01-01"}
NIGHT = Price(Decimal("0.25"), Decimal("0.08"), "1-7", time(22), time(6))


def house(valid_from=JANUARY, *prices, name="house"):
    return PriceList(name, valid_from, prices or (Price(Decimal("0.32")), NIGHT), Decimal("11.9"))


def test_what_a_person_enters_becomes_exact_values():
    checked = check_price_list(
        {"name": " house ", "valid_from": "2026-01-01", "base_price_per_month": "11,90", "currency": ""},
        [
            {"price_per_kwh": "0,3215"},
            {
                "price_per_kwh": "-0.1",
                "weekdays": "6, 7",
                "from_time": "22:00",
                "to_time": "06:00",
                "export_price": 0.08,
            },
        ],
    )
    assert checked.issues == {}
    assert checked.prices == PriceList(
        "house",
        JANUARY,
        (
            Price(Decimal("0.3215")),
            Price(Decimal("-0.1"), Decimal("0.08"), "6,7", time(22), time(6)),
        ),
        Decimal("11.90"),
    )


@pytest.mark.parametrize(
    ("fields", "rows", "issues"),
    [
        ({"name": " "}, [{"price_per_kwh": 1}], {"name"}),
        ({"name": "a\nb"}, [{"price_per_kwh": 1}], {"name"}),
        ({"valid_from": "1.3.2026"}, [{"price_per_kwh": 1}], {"valid_from"}),
        ({"valid_from": None}, [{"price_per_kwh": 1}], {"valid_from"}),
        ({"valid_from": "0001-01-01"}, [{"price_per_kwh": 1}], {"valid_from"}),
        ({"currency": "a very long currency"}, [{"price_per_kwh": 1}], {"currency"}),
        ({"base_price_per_month": "nan"}, [{"price_per_kwh": 1}], {"base_price_per_month"}),
        ({}, [], {"prices"}),
        ({}, [{"price_per_kwh": ""}], {"prices.0.price_per_kwh"}),
        ({}, [{"price_per_kwh": True}], {"prices.0.price_per_kwh"}),
        ({}, [{"price_per_kwh": float("inf")}], {"prices.0.price_per_kwh"}),
        ({}, [{"price_per_kwh": "1e5"}], {"prices.0.price_per_kwh"}),
        ({}, [{"price_per_kwh": 1, "export_price": "x"}], {"prices.0.export_price"}),
        ({}, [{"price_per_kwh": 1, "weekdays": "0-8"}], {"prices.0.weekdays"}),
        ({}, [{"price_per_kwh": 1, "from_time": "24:00"}], {"prices.0.from_time"}),
        ({}, [{"price_per_kwh": 1, "to_time": "06:00:30"}], {"prices.0.to_time"}),
        (
            {},
            [{"price_per_kwh": 1, "weekdays": "1-7"}, {"price_per_kwh": 2, "weekdays": "1-5,6,7"}],
            {"prices.1.from_time"},
        ),
    ],
)
def test_a_wrong_field_is_named_and_no_list_comes_of_it(fields, rows, issues):
    checked = check_price_list(HEAD | fields, rows)
    assert checked.prices is None
    assert set(checked.issues) == issues


TIMES = st.times().map(lambda each: each.replace(second=0, microsecond=0, fold=0))
NUMBERS = st.decimals(-1000, 1000, places=5)
PRICES = st.builds(
    Price, NUMBERS, NUMBERS, st.sampled_from(["1-7", "1-5", "6,7", "5-1"]), from_time=TIMES, to_time=TIMES
)


@given(st.lists(PRICES, min_size=1, max_size=5, unique_by=lambda each: each.when), NUMBERS)
def test_a_list_that_a_program_reads_can_be_sent_back(prices, base_price):
    before = PriceList("house", JANUARY, tuple(prices), base_price)
    record = before.as_record()
    assert check_price_list(record, record["prices"]).prices == before


@given(st.text(alphabet="1234567-,", max_size=12))
def test_weekdays_are_days_or_an_error(text):
    try:
        days = parse_weekdays(text)
    except ValueError:
        return
    assert days
    assert days <= set(range(1, 8))


@pytest.fixture
def engine(config_engine):
    with config_engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO registers VALUES ('t', 0, 'importActiveEnergy', 'kWh', 5, 4, 2, 2);"
            "INSERT INTO energy_meters (id, host, port, slave_address, type) VALUES (1, 'a', 502, 1, 't')"
        )
    return config_engine


def test_a_list_is_written_read_replaced_and_removed(engine):
    assert write_price_list(engine, house()) is None
    assert write_price_list(engine, house(MARCH, Price(Decimal("0.35")))) is None
    assert load_price_lists(engine) == [
        house(MARCH, Price(Decimal("0.35"))),
        house(JANUARY, Price(Decimal("0.32")), NIGHT),
    ]
    changed = house(JANUARY, Price(Decimal("0.30")))
    with pytest.raises(ConfigurationError, match="already has a price list from 2026-01-01"):
        write_price_list(engine, changed)
    assert write_price_list(engine, changed, replace=True) == house()
    assert find_price_list(engine, "house", JANUARY) == changed
    assert remove_price_lists(engine, "house", MARCH) == [house(MARCH, Price(Decimal("0.35")))]
    assert remove_price_lists(engine, "house") == [changed]
    assert load_price_lists(engine) == []


def test_rows_that_a_person_has_written_with_sql_are_a_list(engine):
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO tariffs (name, valid_from, price_per_kwh) VALUES (' house ', '2026-01-01', 0.3);"
            "INSERT INTO tariffs VALUES ('house', '2026-01-01', NULL, '22:00', NULL, 0.2, NULL, NULL, NULL)"
        )
    expected = (Price(Decimal("0.3")), Price(Decimal("0.2"), from_time=time(22)))
    assert load_price_lists(engine) == [PriceList("house", JANUARY, expected)]
    write_price_list(engine, house(), replace=True)
    assert load_price_lists(engine) == [house()], "the rows with spaces are replaced, too"


def test_a_list_may_get_another_day_and_another_name(engine):
    write_price_list(engine, house())
    assert write_price_list(engine, house(MARCH), instead_of=("house", JANUARY)) == house()
    write_price_list(engine, house(MARCH, name="home"), instead_of=("house", MARCH))
    assert load_price_lists(engine) == [house(MARCH, name="home")]
    write_price_list(engine, house())
    with pytest.raises(ConfigurationError, match="already has a price list"):
        write_price_list(engine, house(), instead_of=("home", MARCH))
    with pytest.raises(ConfigurationError, match="has no price list from"):
        write_price_list(engine, house(), instead_of=("nothing", MARCH))
    assert len(load_price_lists(engine)) == 2


def test_a_meter_keeps_a_tariff_that_has_prices(engine):
    with pytest.raises(ConfigurationError, match=r"no tariff 'hose'"):
        edit_meter(engine, 1, {"tariff": "hose"})
    write_price_list(engine, house())
    edit_meter(engine, 1, {"tariff": " house "})
    assert load_tariff_users(engine) == {"house": [1]}
    with pytest.raises(ConfigurationError, match="meter 1 would be left without a price"):
        remove_price_lists(engine, "house")
    with pytest.raises(ConfigurationError, match="meter 1 would be left without a price"):
        write_price_list(engine, house(name="home"), instead_of=("house", JANUARY))
    assert load_price_lists(engine) == [house()]
    _, after = edit_meter(engine, 1, {"tariff": ""})
    assert after["tariff"] is None
    assert remove_price_lists(engine, "house") == [house()]


def test_an_unknown_tariff_is_answered_with_the_closest_one(engine):
    write_price_list(engine, house())
    with pytest.raises(ConfigurationError, match="house"):
        remove_price_lists(engine, "hous")
    with pytest.raises(ConfigurationError, match="there is no tariff"):
        remove_price_lists(engine, "")


@pytest.mark.parametrize("power", [0, -1, 1e13])
def test_an_invalid_maximum_power_is_refused(engine, power):
    with pytest.raises(ConfigurationError, match="max_power_w"):
        edit_meter(engine, 1, {"max_power_w": power})
