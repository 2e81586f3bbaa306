"""Units with special characters, renamed meters, schedules and passwords, with Grafana's escaping."""

import re
import urllib.request
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
import yaml
from support.grafana import PROVISIONING, dashboards, interpolate, panel_queries, provision, queries_of, transform
from support.influxdb import InfluxDB

from emm_pipeline.access.grafana_files import alert_window, authorization, grafana_files
from emm_pipeline.readings import READING_COLUMNS, PollPoint
from emm_pipeline.settings import Settings
from emm_pipeline.stores.influxdb.store import InfluxReadingsStore
from emm_pipeline.stores.shaping import shape_points

NOW = datetime.now(UTC).replace(second=0, microsecond=0)
RENAMED_AT = NOW - timedelta(minutes=5)
UNITS = ["W/m²", "m³/h", "l/min", "a.b", "(x)", "10^3", "*", "+?", "[V]", "{A}", "p|q", "d'arc", 'in"ch', "°C", "a\\b"]
MEASUREMENTS = [f"value {number}" for number in range(len(UNITS))]


def old_or_new(time: datetime) -> str:
    return "barn" if time < RENAMED_AT else "stable"


def point(time: datetime, meter_id: int, description: str | None, status: str) -> PollPoint:
    read = status == "ok"
    return PollPoint(time, meter_id, description, read, 5.0, 1, int(read), None if read else "no reply", status)


@pytest.fixture(scope="module")
def ask(influxdb_1_8: InfluxDB):
    """Run a query as Grafana does, over the last hour, on a meter with many units and a meter that was renamed."""
    bucket = influxdb_1_8.create_database("special")
    times = [NOW - timedelta(minutes=minute) for minute in (20, 10, 3)]
    rows = [(NOW, 1, "units", name, unit, 1.0) for name, unit in zip(MEASUREMENTS, UNITS, strict=True)]
    rows += [(time, 2, old_or_new(time), "power", "W", 5.0) for time in times]
    readings = pd.DataFrame(rows, columns=list(READING_COLUMNS))
    polls = [point(NOW, 1, "units", "ok"), *(point(time, 2, old_or_new(time), "ok") for time in times)]
    polls += [point(time, 3, "inverter", "asleep") for time in times]
    polls += [point(NOW - timedelta(minutes=40), 3, "inverter", "ok")]
    store = InfluxReadingsStore(influxdb_1_8.url, influxdb_1_8.token, influxdb_1_8.org, bucket)
    points = shape_points(readings.assign(time=readings["time"].dt.as_unit("ms")), polls).points
    assert store.write(points) == []
    store.close()

    def ask(query: str, **variables: str | list[str]) -> list[dict]:
        until = NOW + timedelta(minutes=1)  # however long ago the module was imported
        at_that_time = query.replace("now()", f"'{until:%Y-%m-%dT%H:%M:%SZ}'")
        since = until - timedelta(hours=1)
        return influxdb_1_8.query(interpolate(at_that_time, since, until, **variables), bucket=bucket)

    return ask


def panel(dashboard: str, title: str) -> dict:
    (found,) = [one for one in dashboards()[dashboard]["panels"] if one["title"] == title]
    return found


def query_of(dashboard: str, title: str) -> str:
    return panel(dashboard, title)["targets"][0]["query"]


def variable(name: str) -> dict:
    (found,) = [one for one in dashboards()["meter"]["templating"]["list"] if one["name"] == name]
    return found


@pytest.mark.parametrize(("unit", "measurement"), list(zip(UNITS, MEASUREMENTS, strict=True)))
def test_each_unit_has_a_graph_with_its_own_values(ask, unit, measurement):
    assert unit in {row["value"] for row in ask(variable("unit")["query"], id=["1"])}
    rows = ask(query_of("meter", "Values in $unit"), id=["1"], measurement=MEASUREMENTS, unit=unit)
    assert [(row["measurement"], row["dataunit"], row["mean"]) for row in rows] == [(measurement, unit, 1.0)]


@pytest.mark.parametrize("name", ["barn", "stable", "2"])
def test_a_renamed_meter_has_all_its_values_in_one_series_under_any_of_its_names(ask, name):
    ids = [row["value"] for row in ask(variable("id")["query"], meter=name)]
    rows = ask(query_of("meter", "Values in $unit"), id=ids, measurement="power", unit="W")
    assert [row["mean"] for row in rows] == [5.0] * 3
    assert {row["id"] for row in rows} == {"2"}
    assert not [key for row in rows for key in row if key == "description"]


def test_a_renamed_meter_is_no_silent_one_and_has_its_present_name(ask):
    shown = panel("fleet_health", "Last reading of each meter")
    rows = transform([ask(shown["targets"][0]["query"])], shown)
    assert [(row["id"], row["description"]) for row in rows] == [("3", "inverter"), ("2", "stable"), ("1", "units")]
    assert rows[1]["Time"] == (NOW - timedelta(minutes=3)).timestamp() * 1000


def test_a_renamed_meter_is_one_of_the_slowest_meters_once_with_its_present_name(ask):
    shown = panel("fleet_health", "Slowest 50 meters by mean latency")
    rows = transform([ask(query) for query in queries_of("fleet_health", "Slowest 50 meters by mean latency")], shown)
    assert {(row["id"], row["description"], row["latency"]) for row in rows} == {
        ("1", "units", 5.0),
        ("2", "stable", 5.0),
        ("3", "inverter", 5.0),
    }
    assert len(rows) == 3
    assert shown["options"]["sortBy"] == [{"displayName": "mean latency", "desc": True}]


def test_a_renamed_meter_has_one_alert(ask):
    rows = ask(provisioned_rules()["emm-meter-silent"]["data"][0]["model"]["query"])
    assert sorted(row["id"] for row in rows) == ["1", "2"]


def test_no_panel_and_no_alert_groups_by_the_name_of_a_meter():
    queries = [query for _, _, query in panel_queries()]
    queries += [rule["data"][0]["model"]["query"] for rule in provisioned_rules().values()]
    grouped = [query for query in queries for by in re.findall(r"GROUP BY ([^)]*)", query) if "description" in by]
    assert grouped == []


def test_the_bars_of_days_begin_at_the_beginning_of_a_day():
    assert panel("meter", "Energy per day")["timeFrom"].endswith("d/d")


def settings(**changed: object) -> Settings:
    return Settings(postgres_host="db", postgres_user="emm", postgres_db="emm", **changed)


def provisioned_rules(**changed: object) -> dict[str, dict]:
    given = grafana_files(settings(**changed), "token")
    files = {f"/run/emm/grafana/{name}": text for name, text in given.items()}
    (group,) = provision(yaml.safe_load((PROVISIONING / "alerting" / "rules.yml").read_text())["groups"], files)
    return {rule["uid"]: rule for rule in group["rules"]}


def test_a_setting_switches_the_alert_rules_on():
    assert {rule["isPaused"] for rule in provisioned_rules(grafana_alerts=True).values()} == {"false"}
    assert {rule["isPaused"] for rule in provisioned_rules().values()} == {"true"}


@pytest.mark.parametrize(
    ("hour", "minute", "window", "text"),
    [
        ("*", "*/1", "900s", "15 minutes"),
        ("*", "*/30", "3900s", "1 hour 5 minutes"),
        ("*", "0", "7500s", "2 hours 5 minutes"),
        ("6-20", "*/5", "65700s", "18 hours 15 minutes"),  # the night has no polls for nine hours and five minutes
    ],
)
def test_the_alert_rules_follow_the_schedule(hour, minute, window, text):
    rules = provisioned_rules(influx_updater_cron_hour_trigger=hour, influx_updater_cron_minute_trigger=minute)
    for rule in rules.values():
        assert f"now() - {window} " in rule["data"][0]["model"]["query"] + " "
        assert f"for {text}." in rule["annotations"]["summary"]


def test_polls_of_every_hour_raise_no_alert_for_a_store_without_points_between_them():
    assert alert_window(timedelta(hours=1)) > timedelta(hours=2)


def test_a_meter_that_is_asleep_raises_no_alert(ask):
    rule = provisioned_rules()["emm-meter-silent"]
    below = {row["id"] for row in ask(rule["data"][0]["model"]["query"]) if row["sum"] < 1}
    assert not below


def test_no_query_of_a_panel_is_changed_by_grafanas_escaping_of_an_ordinary_name():
    assert not [query for _, _, query in panel_queries() if "='$" in query.replace(" ", "")]


def test_grafana_logs_in_to_influxdb_with_a_password_that_contains_a_dollar_sign(influxdb_1_8: InfluxDB):
    token = influxdb_1_8.create_user("dollar", "pa$$HOME$w0rd")
    files = {f"/run/emm/grafana/{name}": text for name, text in grafana_files(settings(), token).items()}
    (source,) = yaml.safe_load((PROVISIONING / "datasources" / "influxdb.yml").read_text())["datasources"]
    header = provision(source["secureJsonData"]["httpHeaderValue1"], files)
    request = urllib.request.Request(f"{influxdb_1_8.url}/query?q=SHOW+DATABASES", headers={"Authorization": header})
    assert urllib.request.urlopen(request, timeout=20).status == 200


def test_a_token_without_a_dollar_sign_is_sent_as_a_token():
    assert authorization("abc==") == "Token abc=="
    assert authorization("user:password") == "Token user:password"
    assert authorization("a$b").startswith("Basic ")
