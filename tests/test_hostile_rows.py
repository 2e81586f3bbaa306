"""Rows with hostile texts, through the whole pipeline into both stores: stored as given, or refused.

In each test meter 1 has a harmless row: whatever the other rows contain, its points are stored as usual, and the store
contains only points of the meters.
"""

import pytest
from support.meters import SimulatedUnit

from emm_pipeline.config_db.loader import load_fleet
from emm_pipeline.settings import current_settings

HOSTS = [
    "127.0.0.1; DROP TABLE energy_meters",
    "127.0.0.1;DROP",
    "127.0.0.1'--",
    "$(touch /tmp/hostile)",
    "127.0.0.1\n10.0.0.1",
    "../../etc/passwd",
    "x" * 10_000,
    "http://127.0.0.1/",
    "⚡.example",
]
TEXTS = {
    "SQL": "x'); DROP TABLE readings; --",
    "line protocol": "a,b=c d",
    "a second line": "x value=1 1\nforged,id=99 value=1",
    "carriage return": "x\r\nforged,id=99 value=1",
    "backslash at the end": "kitchen\\",
    "quotes": "\"kitchen\" 'cellar'",
    "Unicode": "Küche ⚡ 厨房 \u202e\u200b",
    "10 000 characters": "k" * 10_000,
    "format": "{0} %s %(x)s ${HOME} {{x}}",
    "blank": "   ",
    "nothing that is named": "None",
}
REGISTERS = {(4, address): 0 for address in range(80)}


class Store:
    """A readings store that a test queries: `rows` are (measurement, id, description, unit) of every point."""

    def __init__(self, rows) -> None:
        self.rows = rows


@pytest.fixture(params=["postgresql", "influxdb"])
def store(request, pipeline, monkeypatch):
    """The store into which `pipeline` writes."""
    if request.param == "postgresql":
        query = "SELECT measurement, id, description, unit FROM readings"
        yield Store(lambda: {tuple(row) for row in pipeline.sql(query)})
        return
    influxdb = request.getfixturevalue("influxdb")
    bucket = influxdb.create_database("hostile")
    for name, value in {
        "READINGS_STORE": "influxdb",
        "INFLUXDB_URL": influxdb.url,
        "INFLUXDB_TOKEN": influxdb.token,
        "INFLUXDB_ORG": influxdb.org,
        "INFLUXDB_BUCKET": bucket,
    }.items():
        monkeypatch.setenv(name, value)
    current_settings.cache_clear()

    def rows():
        points = influxdb.query("SELECT * FROM /.*/", bucket)
        return {
            (point["measurement"], int(point["id"]), point.get("description"), point.get("dataunit"))
            for point in points
            if point["measurement"] != "emm_poll"
        }

    yield Store(rows)


HARMLESS = {("voltageL1", 1, None, "V"), ("activePower", 1, None, None)}
FIRST = 10
"""The id of the first hostile meter."""


@pytest.fixture
def gateway(pipeline, simulated_gateway, store):
    """A gateway with the harmless meter, and an old database, which has no constraints and so accepts any row."""
    gateway = simulated_gateway({1: SimulatedUnit(REGISTERS)})
    pipeline.add_meter(1, gateway.port)
    for table in ("energy_meters", "registers"):
        query = "SELECT conname FROM pg_constraint WHERE contype = 'c' AND conrelid = CAST(:table AS regclass)"
        for (name,) in pipeline.sql(query, table=table):
            pipeline.sql(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
    return gateway


def add_meter(pipeline, id_: int, port: int, **values: str) -> None:
    row = {"id": id_, "host": "127.0.0.1", "port": port, "type": "sdm630", "description": None} | values
    pipeline.sql("INSERT INTO energy_meters VALUES (:id, :host, :port, 1, :type, :description)", **row)


def discover_and_poll(pipeline) -> dict[int, str]:
    """Return by meter id why it failed."""
    tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
    before = pipeline.sql(tables)
    assert pipeline.run("discovery").success
    pipeline.run("poll")
    assert pipeline.sql(tables) == before
    return dict(pipeline.sql("SELECT id, reason FROM meter_status WHERE reason IS NOT NULL"))


def test_a_hostile_host_is_a_name_that_is_not_found_or_an_issue_and_nothing_else(pipeline, gateway, store):
    for id_, host in enumerate(HOSTS, FIRST):
        add_meter(pipeline, id_, gateway.port, host=host)
    reasons = discover_and_poll(pipeline)
    assert store.rows() == HARMLESS
    assert set(reasons) == {id_ for id_, _ in enumerate(HOSTS, FIRST)}
    assert len(pipeline.sql("SELECT * FROM energy_meters")) == len(HOSTS) + 1
    assert pipeline.statuses() == {"materialized": {"1"}, "failed": {str(id_) for id_ in reasons}}
    assert all(len(reason) < 1000 for reason in reasons.values())


def test_a_hostile_description_is_stored_as_given_or_omitted_with_an_issue(pipeline, gateway, store):
    for id_, description in enumerate(TEXTS.values(), FIRST):
        add_meter(pipeline, id_, gateway.port, description=description)
    assert discover_and_poll(pipeline) == {}
    left_out = {issue.row for issue in load_fleet(pipeline.engine).issues if issue.column == "description"}
    as_given = {}
    for id_, description in enumerate(TEXTS.values(), FIRST):
        stored = None if f"id {id_}" in left_out else description.strip() or None
        as_given[id_] = {("voltageL1", id_, stored, "V"), ("activePower", id_, stored, None)}
    assert len(left_out) == 3, "two with line breaks and one that ends with a backslash"
    assert_as_given_or_refused(store, as_given, {})


@pytest.mark.parametrize("column", ["measurement_name", "data_unit", "type"])
def test_a_hostile_name_in_a_register_is_stored_as_given_or_refused_by_name(pipeline, gateway, store, column):
    as_given = {}
    for id_, hostile in enumerate(TEXTS.values(), FIRST):
        values = {"measurement_name": "power", "data_unit": "W", "type": f"type {id_}"} | {column: hostile}
        pipeline.sql("INSERT INTO registers VALUES (:type, 0, :measurement_name, :data_unit, 3, 4, 2, 2)", **values)
        add_meter(pipeline, id_, gateway.port, type=values["type"])
        as_given[id_] = {(values["measurement_name"].strip(), id_, None, values["data_unit"].strip() or None)}
    assert_as_given_or_refused(store, as_given, discover_and_poll(pipeline))


def assert_as_given_or_refused(store: Store, as_given: dict[int, set], reasons: dict[int, str]) -> None:
    rows = store.rows()
    of = {id_: {row for row in rows if row[1] == id_} for id_ in {1, *as_given, *(row[1] for row in rows)}}
    assert of.pop(1) == HARMLESS
    assert set(of) == set(as_given), "no point of a meter that is not there"
    for id_, given in as_given.items():
        assert of[id_] in (given, set()), id_
        assert bool(of[id_]) != (id_ in reasons), (id_, "stored, or failed with a reason", reasons.get(id_))
    print(f"stored as given: {sum(map(bool, of.values()))} of {len(of)}; refused: {reasons}")
