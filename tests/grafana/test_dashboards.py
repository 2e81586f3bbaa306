"""Runs every query of every panel, variable and alert rule against a real InfluxDB with the points of three meters."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from support.grafana import (
    PROVISIONING,
    dashboards,
    interpolate,
    only,
    panel_queries,
    provision,
    queries_of,
    query_of,
    transform,
)
from support.influxdb import InfluxDB

from dashboards.build import files
from emm_pipeline.access.grafana_files import grafana_files
from emm_pipeline.readings import READING_COLUMNS, PollPoint
from emm_pipeline.settings import Settings
from emm_pipeline.stores.influxdb.store import InfluxReadingsStore
from emm_pipeline.stores.shaping import shape_points

BUCKET = "dashboards"
NOW = datetime.now(UTC).replace(second=0, microsecond=0)
TODAY = NOW.replace(hour=0, minute=0)
MINUTES = 40
SILENT_MINUTES = 20
"""Meter 2 was read for 20 minutes, then failed."""

NAMES = {0: "test_energy_meter", 1: "mains, main = 1", 2: None}
LATENCIES_MS = {0: 1.0, 1: 20.0, 2: 300.0}
POINTS = {0: 1, 1: 2, 2: 2}
REASON = "127.0.0.1:502 unit 1: no reply within 1 s"

COUNTER = [
    (TODAY - timedelta(days=2, hours=-12), 10.0),
    (TODAY - timedelta(days=2, hours=-18), 14.0),
    (TODAY - timedelta(days=1, minutes=-30), 15.0),
    (TODAY - timedelta(days=1, hours=-12), 1.0),  # the meter was replaced: its counter starts again
    (TODAY - timedelta(days=1, hours=-18), 3.0),
]
"""The energy of the mains: 4 kWh the day before yesterday, 1 + 2 kWh yesterday."""


ALL = ["activePower", "cos phi/total", "energy", "test_measurement", "voltageL1"]
"""The measurements that "All" of the variable `measurement` selects."""


def minutes() -> list[datetime]:
    return [NOW - timedelta(minutes=MINUTES - 1 - number) for number in range(MINUTES)]


def is_read(meter_id: int, number: int) -> bool:
    return meter_id != 2 or number < MINUTES - SILENT_MINUTES


def readings() -> pd.DataFrame:
    rows = [(time, 1, NAMES[1], "energy", "kWh", value) for time, value in COUNTER]
    for number, time in enumerate(minutes()):
        rows.append((time, 0, NAMES[0], "test_measurement", "test_u", float(number)))
        rows.append((time, 1, NAMES[1], "voltageL1", "V", 230.0 + number))
        rows.append((time, 1, NAMES[1], "cos phi/total", None, 0.9))
        if is_read(2, number):
            rows.append((time, 2, None, "voltageL1", "V", 100.0))
            rows.append((time, 2, None, "activePower", "W", 50.0))
    frame = pd.DataFrame(rows, columns=list(READING_COLUMNS))
    return frame.assign(time=frame["time"].dt.as_unit("ms"))


def polls() -> list[PollPoint]:
    return [
        PollPoint(
            time=time,
            id=meter_id,
            description=NAMES[meter_id],
            ok=is_read(meter_id, number),
            latency_ms=LATENCIES_MS[meter_id],
            requests=1,
            points=POINTS[meter_id] if is_read(meter_id, number) else 0,
            error=None if is_read(meter_id, number) else REASON,
            status="ok" if is_read(meter_id, number) else "failing",
        )
        for number, time in enumerate(minutes())
        for meter_id in NAMES
    ]


@pytest.fixture(scope="module")
def ask(influxdb_1_8: InfluxDB):
    """Run a query as Grafana does, by default over the last hour."""
    influxdb = influxdb_1_8
    bucket = influxdb.create_database(BUCKET)
    store = InfluxReadingsStore(url=influxdb.url, token=influxdb.token, org=influxdb.org, bucket=bucket)
    assert store.write(shape_points(readings(), polls()).points) == []
    store.close()

    def ask(query: str, window: timedelta = timedelta(hours=1), **variables: str | list[str]) -> list[dict]:
        until = NOW + timedelta(minutes=1)  # however long ago the module was imported
        at_that_time = query.replace("now()", f"'{until:%Y-%m-%dT%H:%M:%SZ}'")
        return influxdb.query(interpolate(at_that_time, until - window, until, **variables), bucket=bucket)

    return ask


def test_the_committed_files_are_what_make_dashboards_writes():
    written = files()
    assert {path: path.read_text() for path in written} == written
    assert set((PROVISIONING / "dashboards").glob("*.json")) < set(written)


class TestHome:
    def test_the_graph_has_the_example_meters_numbers(self, ask):
        rows = ask(query_of("home", "test_measurement"))
        assert [row["mean"] for row in rows] == [float(number) for number in range(MINUTES)]
        assert {row["id"] for row in rows} == {"0"}

    def test_the_gauge_has_the_last_number(self, ask):
        assert only(ask(query_of("home", "test_measurement, latest value"))) == MINUTES - 1

    def test_the_summary_of_the_fleet_shows_good_and_failed_meters(self, ask):
        assert only(ask(query_of("home", "Meters OK"), now="15m")) == 2
        assert only(ask(query_of("home", "Meters failed"), now="15m")) == 1
        assert only(ask(query_of("home", "Successful polls"))) == pytest.approx(100 * 100 / 120)


class TestFleetHealth:
    def test_meters_ok_and_failed_now(self, ask):
        assert only(ask(query_of("fleet_health", "Meters OK"), now="15m")) == 2
        assert only(ask(query_of("fleet_health", "Meters failed"), now="15m")) == 1

    def test_success_rate_over_all_and_by_minute(self, ask):
        assert only(ask(query_of("fleet_health", "Successful polls"))) == pytest.approx(100 * 100 / 120)
        rates = [round(only([row])) for row in ask(query_of("fleet_health", "Success rate"))]
        assert rates == [100] * (MINUTES - SILENT_MINUTES) + [67] * SILENT_MINUTES

    def test_points_per_minute(self, ask):
        by_minute = [5] * (MINUTES - SILENT_MINUTES) + [3] * SILENT_MINUTES
        assert [row["mean"] for row in ask(query_of("fleet_health", "Points per minute"))] == by_minute
        assert ask(query_of("fleet_health", "Points in the latest minute"))[-1]["sum"] == 3

    def test_latency_of_good_polls_only(self, ask):
        rows = ask(query_of("fleet_health", "Latency of a poll"))
        assert (rows[0]["median"], rows[0]["95th percentile"]) == (20.0, 300.0)
        assert rows[-1]["95th percentile"] == 20.0

    def test_the_slowest_meters_are_named(self, ask):
        (panel,) = [one for one in dashboards()["fleet_health"]["panels"] if one["title"].startswith("Slowest")]
        results = [ask(query) for query in queries_of("fleet_health", "Slowest 50 meters by mean latency")]
        rows = transform(results, panel)
        assert [set(row) for row in rows] == [{"id", "description", "latency"}] * len(NAMES)
        found = {(row["id"], row["description"] or None, row["latency"]) for row in rows}
        assert found == {(str(id_), NAMES[id_], LATENCIES_MS[id_]) for id_ in NAMES}

    def test_each_failed_poll_gives_its_reason(self, ask):
        rows = ask(query_of("fleet_health", "Failures by reason"))
        assert [(row["error"], row["ok"]) for row in rows] == [(REASON, 0)] * SILENT_MINUTES

    def test_the_time_of_each_meters_last_reading(self, ask):
        rows = ask(query_of("fleet_health", "Last reading of each meter"))
        last = {row["id"]: datetime.fromtimestamp(row["time"] / 1000, UTC) for row in rows}
        assert last == {"0": NOW, "1": NOW, "2": NOW - timedelta(minutes=SILENT_MINUTES)}
        assert {row["description"] or None for row in rows} == set(NAMES.values())


class TestMeter:
    @pytest.mark.parametrize(("meter", "id_"), [("mains, main = 1", "1"), ("1", "1"), ("2", "2")])
    def test_the_panels_use_the_id_of_the_chosen_meter(self, ask, meter, id_):
        assert [row["value"] for row in ask(variable("id"), meter=meter)] == [id_]

    def test_a_meter_is_chosen_by_its_description_or_its_id(self, ask):
        values = {row["value"] for row in ask(variable("meter"))}
        assert values == {"test_energy_meter", "mains, main = 1", "0", "1", "2"}

    @pytest.mark.parametrize(
        ("id_", "measurements", "units"),
        [
            ("1", {"cos phi/total", "emm_poll", "energy", "voltageL1"}, {"V", "kWh"}),
            ("2", {"activePower", "emm_poll", "voltageL1"}, {"V", "W"}),
        ],
    )
    def test_the_other_choices_are_those_of_the_meter(self, ask, id_, measurements, units):
        assert {row["name"] for row in ask(variable("measurement"), id=[id_])} == measurements
        assert {row["value"] for row in ask(variable("unit"), id=[id_])} == units

    @pytest.mark.parametrize(("id_", "count", "mean"), [("1", MINUTES, 230.0), ("2", 20, 100.0)])
    @pytest.mark.parametrize("measurement", ["voltageL1", ALL])
    def test_a_graph_by_unit_has_that_meters_values_in_that_unit(self, ask, id_, count, mean, measurement):
        rows = ask(query_of("meter", "Values in $unit"), id=[id_], measurement=measurement, unit="V")
        assert len(rows) == count
        assert rows[0]["mean"] == mean
        assert {row["measurement"] for row in rows} == {"voltageL1"}

    def test_values_without_a_unit_have_a_graph(self, ask):
        rows = ask(query_of("meter", "Values without a unit"), id=["1"], measurement=ALL)
        assert {(row["measurement"], row["mean"]) for row in rows} == {("cos phi/total", 0.9)}

    def test_last_values(self, ask):
        rows = ask(query_of("meter", "Latest values"), id=["2"], measurement=ALL)
        found = {(row["measurement"], row["dataunit"], row["last"]) for row in rows}
        assert found == {("voltageL1", "V", 100.0), ("activePower", "W", 50.0)}

    def test_the_table_to_export_has_every_value(self, ask):
        rows = ask(query_of("meter", "All values, for CSV export"), id=["1"], measurement=ALL)
        assert len(rows) == 2 * MINUTES

    def test_a_name_with_regex_characters_is_matched_literally(self, ask):
        assert ask(variable("id"), meter="test.energy.meter") == []


def variable(name: str) -> str:
    (found,) = [one for one in dashboards()["meter"]["templating"]["list"] if one["name"] == name]
    return found["query"]


SETTINGS = Settings(postgres_host="db", postgres_user="emm", postgres_db="emm")
FILES = {f"/run/emm/grafana/{name}": text for name, text in grafana_files(SETTINGS, "token").items()}


def rules() -> dict[str, dict]:
    """The alert rules as Grafana reads them."""
    (group,) = json.loads((PROVISIONING / "alerting" / "rules.yml").read_text())["groups"]
    return {rule["uid"]: rule for rule in provision(group["rules"], FILES)}


class TestAlerts:
    def test_they_are_provisioned_and_paused(self):
        assert {rule["isPaused"] for rule in rules().values()} == {"true"}

    def test_a_meter_that_is_silent_for_15_minutes_has_no_points_and_others_have(self, ask):
        rule = rules()["emm-meter-silent"]
        rows = ask(rule["data"][0]["model"]["query"])
        below = {row["id"] for row in rows if row["sum"] < threshold(rule)}
        assert below == {"2"}
        assert {row["id"] for row in rows} == {"0", "1", "2"}

    def test_the_text_of_an_alert_names_the_meter_and_the_time(self):
        summary = rules()["emm-meter-silent"]["annotations"]["summary"]
        shown = "Meter {{ $labels.id }} has had no reading for 15 minutes. Fleet health shows its name."
        assert summary == shown, "Grafana replaces the labels"

    def test_no_alert_is_raised_while_points_are_stored(self, ask):
        rule = rules()["emm-no-points"]
        assert only(ask(rule["data"][0]["model"]["query"])) >= threshold(rule)
        assert rule["noDataState"] == "Alerting"


def threshold(rule: dict) -> float:
    (condition,) = [part for part in rule["data"] if part["refId"] == rule["condition"]]
    evaluator = condition["model"]["conditions"][0]["evaluator"]
    assert evaluator["type"] == "lt"
    return evaluator["params"][0]


def test_every_panel_has_a_test_here():
    source = "".join(file.read_text() for file in Path(__file__).parent.glob("test_*.py"))
    untested = {title for name, title, _ in panel_queries() if f'_of("{name}", "{title}")' not in source}
    assert not untested
