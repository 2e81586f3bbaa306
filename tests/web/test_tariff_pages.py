"""Tariffs on the page and in the API: price lists are added, changed and removed, and the log has before and after."""

import json

import pytest

ROWS = [
    *[
        ("price_per_kwh", "0,32"),
        ("export_price", "0.08"),
        ("weekdays", "1-7"),
        ("from_time", "00:00"),
        ("to_time", "00:00"),
    ],
    *[
        ("price_per_kwh", "0.25"),
        ("export_price", ""),
        ("weekdays", "1-5"),
        ("from_time", "22:00"),
        ("to_time", "06:00"),
    ],
    *[("price_per_kwh", ""), ("export_price", ""), ("weekdays", "1-7"), ("from_time", "00:00"), ("to_time", "00:00")],
]
HEAD = {"name": "house", "valid_from": "2026-01-01", "currency": "EUR", "base_price_per_month": "11.9"}
NAME = '<script>alert("1")</script>&'


@pytest.fixture
def browser(local_web):
    local_web.sql("DELETE FROM energy_meters; DELETE FROM tariffs")
    local_web.add_meter(1, "mains")
    return local_web.browser()


def save(browser, **changes):
    return browser.submit("/tariffs/edit", [*(HEAD | changes).items(), *ROWS])


def lists(browser):
    return browser.get("/api/tariffs").json


def test_a_tariff_is_added_changed_and_removed(local_web, browser):
    assert 'name="price_per_kwh"' in browser.get("/tariffs/edit").text
    assert save(browser).headers["location"] == "/tariffs"
    page = browser.get("/tariffs").text
    assert "0.25 EUR on days 1-5 22:00 to 06:00" in page
    assert 'value="0.32"' in browser.get("/tariffs/edit?name=house&valid_from=2026-01-01").text
    old = {"old_name": "house", "old_valid_from": "2026-01-01"}
    assert save(browser, **old, valid_from="2026-02-01", currency="CHF").status == 303
    (found,) = lists(browser)
    assert (found["valid_from"], found["currency"], len(found["prices"])) == ("2026-02-01", "CHF", 2)
    change = local_web.changes()[-1]
    assert (change["action"], change["subject"]) == ("change", "tariff house from 2026-02-01")
    assert (json.loads(change["before"])["currency"], json.loads(change["after"])["currency"]) == ("EUR", "CHF")
    assert (
        "Remove the prices of house from 2026-02-01?"
        in browser.get("/tariffs/remove?name=house&valid_from=2026-02-01").text
    )
    removal = {"name": "house", "valid_from": "2026-02-01"}
    assert browser.submit("/tariffs/remove", removal).status == 303
    assert lists(browser) == []
    assert local_web.changes()[-1]["action"] == "remove"


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"name": ""}, "is required"),
        ({"valid_from": "yesterday"}, "yesterday"),
        ({"base_price_per_month": "free"}, "free"),
        ({"currency": "x" * 20}, "a currency such as EUR"),
    ],
)
def test_wrong_input_is_refused_beside_its_field_and_kept(local_web, browser, changes, shown):
    before = local_web.changes()
    reply = save(browser, **changes)
    assert reply.status == 422
    assert shown in reply.text
    assert 'aria-invalid="true"' in reply.text
    assert 'value="0,32"' in reply.text, "the prices are kept"
    assert local_web.changes() == before


def test_a_wrong_price_is_shown_in_its_row(browser):
    rows = [(name, "x" if value == "0.25" else value) for name, value in ROWS]
    reply = browser.submit("/tariffs/edit", [*HEAD.items(), *rows])
    assert reply.status == 422
    row = reply.text.split("<tr>")[3]
    assert "is &#39;x&#39;" in row
    assert browser.submit("/tariffs/edit", list(HEAD.items())).status == 422, "no price at all"


def test_a_list_is_not_overwritten_by_a_new_one(browser):
    assert save(browser).status == 303
    again = save(browser)
    assert again.status == 422
    assert "already has a price list" in again.text


def test_a_meter_gets_a_tariff_that_stays_while_it_is_used(local_web, browser):
    save(browser)
    assert '<option value="house">' in browser.get("/meters/1/edit").text
    fields = {
        "host": "127.0.0.1",
        "port": "502",
        "slave_address": "1",
        "type": "sdm630",
        "factor": "1",
        "transport": "tcp",
    }
    changed = browser.submit("/meters/1/edit", fields | {"tariff": "house", "max_power_w": "25000", "action": "save"})
    assert changed.status == 303
    assert json.loads(local_web.changes()[-1]["after"])["tariff"] == "house"
    assert 'tariff <a href="/tariffs">house</a>' in browser.get("/meters/1").text
    assert lists(browser)[0]["meters"] == [1]
    refused = browser.submit("/tariffs/remove", {"name": "house", "valid_from": "2026-01-01"})
    assert refused.status == 422
    assert "meter 1 would be left without a price" in refused.text
    wrong = browser.submit("/meters/1/edit", fields | {"tariff": "hose", "max_power_w": "-5", "action": "save"})
    assert wrong.status == 422
    assert "above 0" in wrong.text
    wrong = browser.submit("/meters/1/edit", fields | {"tariff": "hose", "action": "save"})
    assert "there is no tariff" in wrong.text


def test_a_name_is_escaped_everywhere(browser):
    assert save(browser, name=NAME).status == 303
    query = "name=%3Cscript%3Ealert(%221%22)%3C/script%3E%26&valid_from=2026-01-01"
    for path in ("/tariffs", f"/tariffs/edit?{query}", f"/tariffs/remove?{query}", "/changes"):
        reply = browser.get(path)
        assert reply.status == 200
        assert "<script>alert" not in reply.text, path
    assert "&lt;script&gt;" in browser.get("/tariffs").text


def test_what_does_not_exist_is_an_error(browser):
    for path in ("/tariffs/edit?name=x&valid_from=2026-01-01", "/tariffs/remove?name=x&valid_from=2026-01-01"):
        assert browser.get(path).status == 400, path
    for path in ("/tariffs/edit?valid_from=never", "/tariffs/remove", "/tariffs/remove?name=x"):
        assert browser.get(path).status == 400, path


def ask(browser, method, path, data=None):
    body = None if data is None else json.dumps(data)
    return browser.ask(method, path, body, content_type="application/json")


def test_a_program_writes_and_removes_prices(local_web, browser):
    data = {"name": "house", "valid_from": "2026-01-01", "prices": [{"price_per_kwh": 0.3}]}
    assert ask(browser, "PUT", "/api/tariffs", data).status == 200
    sent = ask(browser, "PUT", "/api/tariffs", data | {"prices": [{"price_per_kwh": 0.4}]})
    assert sent.json["prices"][0]["price_per_kwh"] == 0.4
    count = len(local_web.changes())
    ask(browser, "PUT", "/api/tariffs", data | {"prices": [{"price_per_kwh": 0.4}]})
    assert len(local_web.changes()) == count, "nothing has changed"
    for wrong in (
        {},
        data | {"prices": []},
        data | {"prices": "0.3"},
        data | {"prices": [0.3]},
        data | {"prices": [{"price_per_kwh": "cheap"}]},
        data | {"prices": [{"price_per_kwh": 1, "colour": "green"}]},
        data | {"colour": "green"},
    ):
        reply = ask(browser, "PUT", "/api/tariffs", wrong)
        assert (reply.status, bool(reply.json["error"])) == (400, True), wrong
    assert ask(browser, "DELETE", "/api/tariffs?name=house&valid_from=never").status == 400
    assert ask(browser, "DELETE", "/api/tariffs?name=house").status == 204
    assert ask(browser, "DELETE", "/api/tariffs?name=house").status == 400
