"""The API and the metrics: what programs read, what they may change, and its description."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.web import WebServer

from emm_pipeline.cron import Trigger
from emm_pipeline.stores.points import PointBatch
from emm_pipeline.web.api.metrics import lateness_s
from emm_pipeline.web.api.openapi import openapi
from emm_pipeline.web.app import FOR_PROGRAMS
from emm_pipeline.web.security.callers import create_token

NOW = datetime.now(UTC).replace(microsecond=0)
NAME = 'bakery "north" \\ 1'


def poll(web: WebServer, id_: int = 1, power: float = 1234.5, at: datetime = NOW) -> None:
    """A poll hands over its batch, and the page takes it."""
    time = round(at.timestamp() * 1000)
    series = (("activePower", "W", power), ("activeEnergyImport", "kWh", 10.25), ("powerFactor", None, 0.9))
    readings = [
        {"time": time, "id": id_, "description": NAME, "measurement": name, "unit": unit, "value": value}
        for name, unit, value in series
    ]
    result = {"time": time, "id": id_, "description": NAME, "ok": True, "latency_ms": 250.0, "requests": 2, "points": 3}
    web.site.latest.add(PointBatch.of(readings, [result | {"error": None, "status": "ok"}]))


@pytest.fixture(autouse=True)
def meters(web):
    web.sql("DELETE FROM energy_meters")
    web.add_meter(1, NAME)
    web.add_meter(2, None)
    web.sql("UPDATE energy_meters SET enabled = false WHERE id = 2")
    poll(web)


@pytest.fixture
def ask(web):
    """Sends a request as a program with a token that may change meters; returns status and JSON."""
    token = create_token(web.engine, "test", may_change=True, created_by="test")

    def ask(method: str, path: str, data=None, *, raw: str | None = None):
        body = raw if raw is not None else None if data is None else json.dumps(data)
        reply = web.browser().ask(method, path, body, authorization=f"Bearer {token}", content_type="application/json")
        return reply.status, reply.json if reply.body else None

    return ask


def test_the_description_names_every_path_and_every_method_and_no_others():
    described = {
        (path, method.upper())
        for path, operations in openapi()["paths"].items()
        for method in operations
        if method != "parameters"
    }
    assert described == {(route.path, method) for route in FOR_PROGRAMS for method in route.methods - {"HEAD"}}


def test_the_description_is_valid(ask):
    import jsonschema  # takes two seconds, in each process that collects tests

    status, document = ask("GET", "/api/openapi.json")
    assert (status, document["openapi"]) == (200, "3.1.0")
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    for reference in {part for part in json.dumps(document).split('"') if part.startswith("#/components/")}:
        assert reference.split("/")[-1] in document["components"]["schemas"]


def test_the_latest_values_of_all_meters_come_as_json(ask):
    status, found = ask("GET", "/api/latest")
    assert status == 200
    (meter,) = found["meters"]
    assert (meter["id"], meter["description"], datetime.fromisoformat(meter["read_at"])) == (1, NAME, NOW)
    assert meter["values"] == [
        {"measurement": "activePower", "unit": "W", "value": 1234.5},
        {"measurement": "activeEnergyImport", "unit": "kWh", "value": 10.25},
        {"measurement": "powerFactor", "unit": None, "value": 0.9},
    ]
    assert ask("GET", "/api/latest?id=2")[1] == {"meters": []}
    assert len(ask("GET", "/api/latest?id=1&id=2")[1]["meters"]) == 1


def test_an_older_poll_that_comes_later_does_not_replace_the_latest_values(web, ask):
    poll(web, power=1.0, at=NOW - timedelta(minutes=1))
    assert ask("GET", "/api/latest")[1]["meters"][0]["values"][0]["value"] == 1234.5


def test_a_meter_has_its_status_its_values_and_the_records_of_the_command_line(web, ask, emm):
    status, meter = ask("GET", "/api/meters/1")
    assert status == 200
    assert (meter["status"], meter["values"][0]["value"]) == ("new", 1234.5)
    status, all_meters = ask("GET", "/api/meters")
    printed = json.loads(emm("meters", "list", "--json", POSTGRES_DB=web.site.settings().postgres_db).stdout)
    assert all_meters == printed
    assert ask("GET", "/api/status")[1]["meters"] == printed


@pytest.mark.parametrize(
    "path", ["/api/meters/77", "/api/meters/abc", "/api/types/none", "/api/none", "/api/scans/none"]
)
def test_what_does_not_exist_is_404_as_json(ask, path):
    status, found = ask("GET", path)
    assert status == 404
    assert found["error"]


def test_a_program_adds_changes_and_removes_a_meter_and_it_is_logged(web, ask):
    row = {"host": "10.0.0.9", "port": 502, "slave_address": 3, "type": "sdm630", "description": "barn"}
    status, added = ask("POST", "/api/meters", row)
    assert status == 201
    assert {**row, "enabled": True}.items() <= added.items()
    assert ask("PATCH", f"/api/meters/{added['id']}", {"description": "old barn"})[0] == 200
    assert ask("DELETE", f"/api/meters/{added['id']}") == (204, None)
    assert ask("GET", f"/api/meters/{added['id']}")[0] == 404
    logged = web.changes()[-3:]
    assert [change["action"] for change in logged] == ["add", "edit", "remove"]
    assert {change["who"] for change in logged} == {"token test"}
    assert (json.loads(logged[1]["before"]), json.loads(logged[1]["after"])) == (
        {"description": "barn"},
        {"description": "old barn"},
    )


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({}, "lacks host, port, slave_address, type"),
        ({"host": "10.0.0.9", "port": "502", "slave_address": 3, "type": "sdm630"}, "port is '502'"),
        ({"host": "10.0.0.9", "port": True, "slave_address": 3, "type": "sdm630"}, "port is True"),
        ({"host": "10.0.0.9", "port": 502, "slave_address": 999, "type": "sdm630"}, "slave_address is 999"),
        ({"host": "10.0.0.9", "port": 502, "slave_address": 3, "type": "none"}, "'none' is not in the database"),
        ({"host": "10.0.0.9", "port": 502, "slave_address": 3, "type": "sdm630", "id": 5}, "unknown columns 'id'"),
        ({"host": "127.0.0.1", "port": 502, "slave_address": 1, "type": "sdm630"}, "already meter"),
        ({"host": "a b", "port": 502, "slave_address": 1, "type": "sdm630"}, "host"),
    ],
)
def test_a_row_that_is_invalid_is_refused_with_the_reason(ask, row, reason):
    status, found = ask("POST", "/api/meters", row)
    assert status == 400
    assert reason in found["error"]


@pytest.mark.parametrize("raw", ["", "{", "[]", "null", "[" * 100_000, '"x"'])
def test_a_body_that_is_not_an_object_is_refused(ask, raw):
    assert ask("POST", "/api/meters", raw=raw)[0] == 400


def test_a_poll_without_dagsters_address_says_which_setting_is_missing(ask):
    status, found = ask("POST", "/api/meters/1/poll")
    assert status == 400
    assert "DAGSTER_API_URL" in found["error"]


def test_the_types_of_the_catalogue_can_be_searched(ask):
    found = ask("GET", "/api/types?q=eastron+630")[1]
    assert "sdm630" in {each["type"] for each in found}
    one = ask("GET", "/api/types/sdm630")[1]
    assert {"voltageL1", "activePower"} <= {row["measurement_name"] for row in one["rows"]}


def metrics_of(web: WebServer, query: str = "") -> dict[str, list]:
    token = create_token(web.engine, "prometheus", may_change=False, created_by="test")
    reply = web.browser().get(f"/metrics{query}", authorization=f"Bearer {token}")
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("text/plain; version=")
    return {family.name: family.samples for family in text_string_to_metric_families(reply.text)}


def test_prometheus_reads_meters_by_status_and_the_last_poll(web):
    found = metrics_of(web)
    by_status = {sample.labels["status"]: sample.value for sample in found["emm_meters"]}
    assert (by_status["new"], by_status["disabled"], by_status["failing"]) == (1, 1, 0)
    assert found["emm_poll_duration_seconds"][0].value == 0.25
    assert found["emm_poll_requests"][0].value == 2
    assert found["emm_outbox_batches"][0].value == 0
    assert found["emm_points"][0].value >= 3
    assert {"PostgreSQL", "outbox"} <= {sample.labels["part"] for sample in found["emm_part_ok"]}
    assert "emm_value" not in found
    assert all(name.startswith("emm_") for name in found)


def test_prometheus_reads_values_if_they_are_wanted(web):
    (power,) = [
        each for each in metrics_of(web, "?values=1")["emm_value"] if each.labels["measurement"] == "activePower"
    ]
    assert power.value == 1234.5
    assert power.labels == {"id": "1", "description": NAME, "measurement": "activePower", "unit": "W"}
    (read,) = metrics_of(web, "?values=1")["emm_read_timestamp_seconds"]
    assert read.value == NOW.timestamp()


def test_the_lateness_of_a_poll_is_the_time_since_it_was_due():
    trigger = Trigger(hour="*", minute="*/1", second="5,35", time_zone="UTC")
    at = datetime(2026, 3, 1, 12, 0, 36, 250_000, tzinfo=UTC)
    assert lateness_s(trigger, round(at.timestamp() * 1000)) == 1.25
