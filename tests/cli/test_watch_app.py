"""`emm watch` on a terminal of 80 by 24: all values can be reached, filtered, and several meters shown. (F13)"""

import asyncio

import pytest
from support.meters import SimulatedUnit, encode_registers
from textual.widgets import DataTable, Static

from emm_pipeline.catalog import load_catalogue
from emm_pipeline.cli.gateways import KnownFleet
from emm_pipeline.cli.showing.watch_app import WatchApp
from emm_pipeline.cli.watching import Watched
from emm_pipeline.fleet import EnergyMeter

SDM630 = load_catalogue()["sdm630"].meter_type
SIZE = (80, 24)


@pytest.fixture
def watched(simulated_gateway):
    """Two meters of a type with more registers than a screen has lines; the second one does not exist."""
    words = encode_registers(SDM630, {"voltageL1": 231.4, "importActiveEnergy": 1234.5})
    gateway = simulated_gateway({1: SimulatedUnit(words)})
    meters = [EnergyMeter(unit, gateway.host, gateway.port, unit, "sdm630", f"hall {unit}") for unit in (1, 2)]

    def watch(number):
        return Watched(KnownFleet(), meters[:number], {"sdm630": SDM630}, 0.2)

    return watch


def run(scenario):
    return asyncio.run(scenario())


async def until(pilot, condition):
    for _ in range(600):
        if condition():
            return
        await pilot.pause(0.05)
    pytest.fail("it did not happen")


def table_of(app):
    return app.query_one(DataTable)


def rows_of(app):
    table = table_of(app)
    return [[str(cell) for cell in table.get_row(key)] for key in table.rows]


def head_of(app):
    return str(app.query_one("#head", Static).content)


def test_every_value_of_a_large_meter_can_be_scrolled_to(watched):
    async def scenario():
        app = WatchApp(watched(1))
        async with app.run_test(size=SIZE) as pilot:
            await until(pilot, lambda: "ok" in head_of(app))
            assert len(rows_of(app)) == len(SDM630.stored_series)
            assert ["voltageL1", "231.4", "", "V"] in rows_of(app)
            await pilot.press("ctrl+end")
            assert table_of(app).cursor_row == len(SDM630.stored_series) - 1
            await until(pilot, lambda: table_of(app).scroll_y > 0)

    run(scenario)


def test_words_select_the_rows(watched):
    async def scenario():
        app = WatchApp(watched(2))
        async with app.run_test(size=SIZE) as pilot:
            await pilot.press("slash", *"energy imp", "enter")
            await pilot.pause()
            names = {row[1] for row in rows_of(app)}
            assert names
            assert all("energy" in name.lower() and "imp" in name.lower() for name in names)
            await pilot.press("escape")
            await pilot.pause()
            assert len(rows_of(app)) == 2 * len(SDM630.stored_series)

    run(scenario)


def test_several_meters_are_shown_with_the_reason_of_one_that_fails(watched):
    async def scenario():
        app = WatchApp(watched(2))
        async with app.run_test(size=SIZE) as pilot:
            await until(pilot, lambda: "1 failing" in head_of(app))
            head = head_of(app)
            assert head.startswith("2 meters, ")
            assert "2 hall 2: " in head
            assert "exception 11" in head
            rows = {(row[0], row[1]): row[2] for row in rows_of(app)}
            assert rows["1 hall 1", "voltageL1"] == "231.4"
            assert rows["2 hall 2", "voltageL1"] == "no value"

    run(scenario)


def test_a_value_that_rises_is_marked(simulated_gateway):
    unit = SimulatedUnit(encode_registers(SDM630, {"voltageL1": 231.0}))
    gateway = simulated_gateway({1: unit})
    meter = EnergyMeter(1, gateway.host, gateway.port, 1, "sdm630")

    async def scenario():
        app = WatchApp(Watched(KnownFleet(), [meter], {"sdm630": SDM630}, 0.2))
        async with app.run_test(size=SIZE) as pilot:
            volts = 231
            await until(pilot, lambda: rows_of(app)[0][1] == "231")

            def is_marked():
                """Say whether the latest value is marked; raise it once more where the mark has gone by unseen."""
                nonlocal volts
                _, value, mark, _ = rows_of(app)[0]
                if value == str(volts) and not mark:
                    volts += 1
                    unit.registers = encode_registers(SDM630, {"voltageL1": float(volts)})
                return (value, mark) == (str(volts), "▲")

            await until(pilot, is_marked)

    run(scenario)


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
def test_a_key_ends_it(watched, key):
    async def scenario():
        app = WatchApp(watched(1))
        async with app.run_test(size=SIZE) as pilot:
            await until(pilot, lambda: "ok" in head_of(app))
            await pilot.press(key)
        return app.return_value

    assert [each.error for each in run(scenario)] == [None]


def test_a_reading_that_ends_after_the_table_was_closed_is_not_an_error(watched, monkeypatch):
    async def scenario():
        table_closed, reading_ended = asyncio.Event(), asyncio.Event()
        read = Watched.read

        async def read_slowly(self):
            await table_closed.wait()
            readings = await read(self)
            reading_ended.set()
            return readings

        monkeypatch.setattr(Watched, "read", read_slowly)
        app = WatchApp(watched(1))
        async with app.run_test(size=SIZE) as pilot:
            await table_of(app).remove()
            table_closed.set()
            await until(pilot, reading_ended.is_set)
            await pilot.pause()
            await pilot.press("q")
        return app.return_value

    assert [each.error for each in run(scenario)] == [None]


def test_with_a_count_it_ends_by_itself_and_returns_the_last_readings(watched):
    async def scenario():
        app = WatchApp(watched(2), count=2)
        async with app.run_test(size=SIZE) as pilot:
            await until(pilot, lambda: app.return_value is not None)
        return app.return_value

    assert [bool(each.error) for each in run(scenario)] == [False, True]
