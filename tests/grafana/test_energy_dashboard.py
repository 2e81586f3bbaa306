"""Runs every query of the dashboard Energy against a real InfluxDB with the energy of two meters."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from support.energies import energy_row
from support.grafana import ALL, dashboards, interpolate, only, panel_queries, query_of, shown_panels, transform
from support.influxdb import InfluxDB

from emm_pipeline.stores.energy_points import EnergyPoints
from emm_pipeline.stores.influxdb.client import InfluxClient
from emm_pipeline.stores.influxdb.history import InfluxHistory

IMPORT = "importActiveEnergy"
NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)
TODAY = NOW.replace(hour=0)


def energy(time: datetime, meter: int, period: str, kwh: float, **others) -> dict:
    return energy_row(round(time.timestamp() * 1000), meter, kwh, period, **others)


def energies() -> list[dict]:
    rows = [energy(TODAY + timedelta(hours=hour), meter, "hour", 0.5) for hour in range(12) for meter in (1, 2)]
    for day in range(1, 20):
        time = TODAY - timedelta(days=day)
        rows += [energy(time, 1, "day", 12.0, cost=3.75), energy(time, 2, "day", 1.0)]
    rows[-1] |= {"coverage": 80.0, "flags": "reset,estimated", "estimated": 0.25, "description": "an earlier name"}
    rows.append(energy(TODAY - timedelta(days=100), 2, "day", 5.0, flags="reset", coverage=70.0))
    months = [datetime(2026, month, 1, tzinfo=UTC) for month in (1, 2)]
    rows += [energy(time, 1, "month", 300.0 + time.month, cost=None) for time in months]
    rows += [energy(months[0], 2, "month", 30.0, coverage=75.0), energy(months[1], 2, "month", 0.5)]
    rows[-2]["description"] = "an earlier name"
    rows.append(energy(TODAY - timedelta(days=1), 1, "day", 99.0, measurement="exportActiveEnergy", cost=-1.0))
    return rows


@pytest.fixture(scope="module")
def ask(influxdb: InfluxDB):
    """Run the query of a panel over the time before NOW, for all meters."""
    bucket = influxdb.create_database("energy_dashboard")
    client = InfluxClient(influxdb.url, influxdb.token, influxdb.token, influxdb.org, bucket)
    InfluxHistory(client).write_energy(EnergyPoints.of(energies()))

    def ask(query: str, window: timedelta = timedelta(days=30), **variables) -> list[dict]:
        values = {"meter": ["1", "2"], "measurement": IMPORT} | variables
        return influxdb.query(interpolate(query, NOW - window, NOW, **values), bucket=bucket)

    return ask


def test_the_numbers_of_today_and_of_months_add_all_meters(ask):
    assert only(ask(query_of("energy", "Today"), NOW - TODAY)) == 12.0
    month = NOW - datetime(2026, 3, 1, tzinfo=UTC)
    assert only(ask(query_of("energy", "This month, until yesterday"), month)) == 19 * 13.0
    assert only(ask(query_of("energy", "The month before"), timedelta(days=5))) == 4 * 13.0


def test_the_cost_is_that_of_all_counters_of_the_selected_meters(ask):
    assert only(ask(query_of("energy", "Cost this month, until yesterday"))) == pytest.approx(19 * 3.75 - 1)
    assert [row["sum"] for row in ask(query_of("energy", "Cost, day by day"))][-1] == pytest.approx(2.75)
    rows = ask(query_of("energy", "Cost of each meter, day by day"))
    assert {row["id"] for row in rows} == {"1"}, "the other has no tariff"
    assert [row["sum"] for row in rows][-1] == pytest.approx(2.75)


def test_the_lowest_coverage_is_that_of_a_day_of_a_meter(ask):
    assert only(ask(query_of("energy", "Lowest coverage"))) == 80.0
    assert only(ask(query_of("energy", "Lowest coverage"), meter="1")) == 100.0


def test_a_bar_is_the_energy_of_the_selected_meters_on_a_day_at_its_beginning(ask):
    rows = ask(query_of("energy", "Day by day"))
    assert rows == ask(query_of("energy", "Day by day, a month earlier")), "the panel shifts the time"
    assert [row["sum"] for row in rows] == [13.0] * 19
    assert all(row["time"] % 86_400_000 == 0 for row in rows)


def test_a_row_that_is_closed_at_first_has_the_bars_of_each_meter(ask):
    closed = {panel for name, panel, _ in panel_queries() if name == "energy"}
    closed -= {panel["title"] for panel in shown_panels(dashboards()["energy"])}
    assert closed == {
        "Each meter, day by day",
        "Each meter, hour by hour",
        "Each meter, month by month",
        "Cost of each meter, day by day",
        "By meter, all days",
        "All days to look at",
    }
    rows = ask(query_of("energy", "Each meter, day by day"))
    assert len(rows) == 38
    assert {row["sum"] for row in rows if row["id"] == "1"} == {12.0}
    assert len({(row["id"], row["measurement"]) for row in rows}) == 2, "a renamed meter is one series"
    assert len(ask(query_of("energy", "Each meter, hour by hour"))) == 24
    assert len(ask(query_of("energy", "Each meter, month by month"), timedelta(days=400))) == 4


def test_hours_and_months_have_bars(ask):
    assert [row["sum"] for row in ask(query_of("energy", "Hour by hour"))] == [1.0] * 12
    assert [row["sum"] for row in ask(query_of("energy", "Hour by hour"), meter="2")] == [0.5] * 12
    rows = ask(query_of("energy", "Month by month"), timedelta(days=400))
    assert [row["sum"] for row in rows] == [331.0, 302.5]


def test_all_meters_are_selected_without_the_list_of_their_ids(ask):
    variables = dashboards()["energy"]["templating"]["list"]
    assert all(one["allValue"] for one in variables)
    panels = [(title, query) for name, title, query in panel_queries() if name == "energy"]
    for title, query in panels:
        of_all, of_list = (ask(query, timedelta(days=400), meter=meter) for meter in (ALL, ["1", "2"]))
        assert of_all, title
        assert [values(row) for row in of_all] == [values(row) for row in of_list], title


def values(row: dict) -> dict:
    """A row without the measurement from which it was read."""
    return {key: value for key, value in row.items() if value not in {"emm_energy", "emm_energy_total"}}


def test_the_numbers_and_bars_of_all_meters_are_read_from_their_total_and_those_of_a_selection_are_not(ask):
    one_series = {
        panel["title"] for panel in shown_panels(dashboards()["energy"]) if panel["type"] in {"stat", "timeseries"}
    }
    assert len(one_series) == 10
    for title in one_series:
        query = query_of("energy", title).replace('"measurement", "dataunit" fill', "fill").replace(", fill", " fill")
        for meter, source in ((ALL, "emm_energy_total"), ("1", "emm_energy"), (["1", "2"], "emm_energy")):
            rows = ask(query, timedelta(days=90), meter=meter)
            assert {row["measurement"] for row in rows} == {source}, title


def test_a_selection_of_meters_has_the_sum_of_these_meters(ask):
    query = query_of("energy", "Day by day")
    for meters, kwh in ((["1"], 12.0), (["2"], 1.0), (["1", "2"], 13.0), (["2", "12"], 1.0)):
        assert {row["sum"] for row in ask(query, meter=meters)} == {kwh}
    assert ask(query, meter="11") == []


def test_the_table_by_meter_has_sums_and_the_latest_description(ask):
    rows = {row["id"]: row for row in ask(query_of("energy", "By meter"))}
    assert (rows["1"]["energy"], rows["2"]["energy"]) == (19 * 12.0, 19.0)
    assert (rows["2"]["coverage"], rows["2"]["description"]) == (80.0, "meter 2")


@pytest.mark.parametrize("meter", [ALL, ["1", "2"]])
def test_tables_of_days_have_the_last_ones_of_a_long_time_and_the_closed_row_has_all(ask, meter):
    def column(query: str, name: str) -> list:
        return [row[name] for row in ask(query, timedelta(days=365), meter=meter)]

    assert column(query_of("energy", "By meter"), "energy") == [228.0, 19.0]
    assert column(query_of("energy", "By meter, all days"), "energy") == [228.0, 24.0]
    assert column(query_of("energy", "Days to look at"), "coverage") == [80.0]
    assert column(query_of("energy", "All days to look at"), "coverage") == [80.0, 70.0]


@pytest.mark.parametrize("meter", [ALL, ["1", "2"]])
def test_a_table_has_the_sum_of_the_months_of_each_meter(ask, meter):
    (panel,) = [one for one in shown_panels(dashboards()["energy"]) if one["title"] == "By meter, whole months"]
    query = query_of("energy", "By meter, whole months")
    rows = transform([ask(query, timedelta(days=395), meter=meter)], panel)
    columns = ("id", "dataunit", "energy (sum)", "coverage (min)", "description (lastNotNull)")
    assert [tuple(row[name] for name in columns) for row in rows] == [
        ("1", "kWh", 603.0, 100.0, "meter 1"),
        ("2", "kWh", 30.5, 75.0, "meter 2"),
    ]
    overridden = {one["matcher"]["options"] for one in panel["fieldConfig"]["overrides"]}
    assert overridden == {*columns[2:]}, "columns have readable names"


def test_days_with_events_or_few_readings_are_listed(ask):
    (row,) = ask(query_of("energy", "Days to look at"))
    assert (row["id"], row["flags"], row["coverage"]) == ("2", "reset,estimated", 80.0)


def test_meters_and_counters_can_be_selected(ask):
    variables = {one["name"]: one["query"] for one in dashboards()["energy"]["templating"]["list"]}
    assert [row["value"] for row in ask(variables["meter"])] == ["1", "2"]
    assert [row["value"] for row in ask(variables["measurement"])] == ["exportActiveEnergy", IMPORT]


def test_energy_per_day_of_the_dashboard_meter_has_a_series_per_counter_also_after_a_renaming(ask):
    rows = ask(
        query_of("meter", "Energy per day"), timedelta(days=14), id=["1"], measurement=["exportActiveEnergy", IMPORT]
    )
    imported = [row["sum"] for row in rows if row["measurement"] == IMPORT]
    assert imported == [12.0] * 13
    assert [row["sum"] for row in rows if row["measurement"] != IMPORT] == [99.0]
    assert all(row["time"] % 86_400_000 == 0 for row in rows), "at the beginning of each day"
    renamed = ask(query_of("meter", "Energy per day"), id=["2"], measurement=IMPORT)
    assert len(renamed) == 19
    assert {(row["id"], row["dataunit"]) for row in renamed} == {("2", "kWh")}


def test_the_pipelines_own_measurements_are_no_choices_of_the_dashboard_meter():
    (measurement,) = [one for one in dashboards()["meter"]["templating"]["list"] if one["name"] == "measurement"]
    pattern = re.compile(measurement["regex"].strip("/"))
    names = ["emm_poll", "emm_energy", "emm_energy_total", "emm_energy_of_mine", "energy"]
    assert [name for name in names if pattern.match(name)] == ["emm_energy_of_mine", "energy"]
