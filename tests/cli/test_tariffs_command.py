"""`emm tariffs`: prices are written, shown and removed without SQL."""

import json

import pytest

SET = ("tariffs", "set", "house", "--from", "2026-01-01")


def test_prices_are_set_shown_and_removed(emm, config_engine):
    nothing = emm("tariffs", "list")
    assert "emm tariffs set" in nothing.stdout
    written = emm(
        *SET, "--price", "0.32", "--price", "0.25 1-5 22:00-6:00", "--base-price", "11,9", "--export-price", "0.08"
    )
    assert written.returncode == 0, written.stderr
    assert "added the price list of house from 2026-01-01" in written.stdout
    shown = emm("tariffs", "list").stdout
    assert "22:00-06:00" in shown
    assert "0.25" in shown
    (found,) = json.loads(emm("tariffs", "list", "--json").stdout)
    assert found == {
        "name": "house",
        "valid_from": "2026-01-01",
        "currency": "EUR",
        "base_price_per_month": 11.9,
        "prices": [
            {"weekdays": "1-7", "from_time": "00:00", "to_time": "00:00", "price_per_kwh": 0.32, "export_price": 0.08},
            {"weekdays": "1-5", "from_time": "22:00", "to_time": "06:00", "price_per_kwh": 0.25, "export_price": 0.08},
        ],
        "meters": [],
    }
    again = json.loads(emm(*SET, "--price", "0.4", "--currency", "CHF", "--json").stdout)
    assert again["before"]["currency"] == "EUR"
    assert again["after"]["prices"][0]["price_per_kwh"] == 0.4
    removed = emm("tariffs", "remove", "house", "--from", "2026-01-01", "--yes")
    assert removed.returncode == 0, removed.stderr
    assert json.loads(emm("tariffs", "list", "--json").stdout) == []


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((*SET, "--price", "cheap"), "--price 'cheap': price_per_kwh is 'cheap'"),
        ((*SET, "--price", "0.3 at night"), "is not of the form"),
        ((*SET, "--price", "0.3 25:00-06:00"), "from_time is '25:00'"),
        ((*SET, "--price", "0.3", "--base-price", "x"), "--base-price is 'x'"),
        ((*SET, "--price", "0.3", "--price", "0.4"), "has the days and the time of row 1"),
        (("tariffs", "remove", "nothing", "--yes"), "there is no tariff 'nothing'"),
    ],
)
def test_wrong_prices_are_named_and_nothing_is_written(emm, config_engine, arguments, reason):
    result = emm(*arguments)
    assert result.returncode == 2
    assert reason in " ".join(result.stderr.split())
    assert json.loads(emm("tariffs", "list", "--json").stdout) == []
