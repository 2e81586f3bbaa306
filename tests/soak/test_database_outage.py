"""PostgreSQL is stopped 0.2 s after reading began, for 40 s: every value that a meter sent is stored exactly once."""

import threading
import time
from collections import Counter

import pytest
from soak.judge import CountingUnit
from soak.table import SoakRow, publish
from support.dagster_ui import wait_for

from emm_pipeline.settings import current_settings

GATEWAYS, UNITS = 20, 100
AWAY_S = 40.0
REGISTERS = "INSERT INTO registers VALUES ('counting', 0, 'counter', NULL, 5, 4, 2, 2)"


@pytest.fixture
def gateways(pipeline, simulated_gateway):
    """2000 meters that count their replies, behind twenty gateways; all are discovered."""
    pipeline.sql(REGISTERS)
    gateways = [
        simulated_gateway({id_: CountingUnit(delay_s=0.02) for id_ in range(1, UNITS + 1)}) for _ in range(GATEWAYS)
    ]
    for index, gateway in enumerate(gateways):
        for unit_id in gateway.units:
            meter_id = index * UNITS + unit_id
            pipeline.sql(
                "INSERT INTO energy_meters VALUES (:id, '127.0.0.1', :port, :unit, 'counting', NULL)",
                id=meter_id,
                port=gateway.port,
                unit=unit_id,
            )
    assert pipeline.run("discovery").success
    return gateways


@pytest.fixture(params=["influxdb", "postgresql"])
def store(request, influxdb, monkeypatch):
    """The readings store, and the name of the InfluxDB database if it is InfluxDB."""
    bucket = influxdb.create_database(f"outage_{request.param}")
    for name, value in {
        "READINGS_STORE": request.param,
        "INFLUXDB_URL": influxdb.url,
        "INFLUXDB_TOKEN": influxdb.token,
        "INFLUXDB_BUCKET": bucket,
        "INFLUXDB_ORG": influxdb.org,
    }.items():
        monkeypatch.setenv(name, value)
    current_settings.cache_clear()
    return request.param, bucket


def stored_in(store, pipeline, influxdb):
    """Return the number of stored points for each (meter id, value)."""
    kind, bucket = store
    if kind == "postgresql":
        return Counter((row.id, int(row.value)) for row in pipeline.sql("SELECT id, value FROM readings"))
    rows = influxdb.query('SELECT value FROM "counter" GROUP BY id', bucket)
    return Counter((int(row["id"]), int(row["value"])) for row in rows)


@pytest.mark.soak
def test_a_fleet_reading_during_an_outage_of_postgresql_is_stored_once(pipeline, gateways, postgres, influxdb, store):
    def happen():
        wait_for("a request", lambda: any(gateway.requests for gateway in gateways), every_s=0.01)
        time.sleep(0.2)
        postgres.stop()
        time.sleep(AWAY_S)
        postgres.start()

    outage = threading.Thread(target=happen)
    outage.start()
    pipeline.run("poll")
    outage.join()
    pipeline.run("replay")

    served = {
        (index * UNITS + unit_id, unit.answered)
        for index, gateway in enumerate(gateways)
        for unit_id, unit in gateway.units.items()
        if unit.answered
    }
    stored = stored_in(store, pipeline, influxdb)
    row = SoakRow(
        f"PostgreSQL away for {AWAY_S:.0f} s while {GATEWAYS * UNITS} meters are read ({store[0]})",
        1,
        read=len(served),
        stored=len(stored),
        lost=len(served - set(stored)),
        invented=len(set(stored) - served),
        duplicated=sum(times > 1 for times in stored.values()),
    )
    publish(row)
    assert row.is_clean()
    assert len(served) == GATEWAYS * UNITS
    assert len(pipeline.statuses()["materialized"]) == GATEWAYS * UNITS
