from datetime import UTC, datetime, timedelta

import pytest

from emm_pipeline.cron import Trigger
from emm_pipeline.errors import ConfigurationError
from emm_pipeline.mqtt.options import broker_of, load_published_fleet, options_of, valid_for
from emm_pipeline.settings import load_settings

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("mqtt://broker", "mqtt://broker:1883"),
        ("mqtts://broker/", "mqtts://broker:8883"),
        ("mqtt://10.0.0.5:1884", "mqtt://10.0.0.5:1884"),
        ("mqtt://[fe80::1]:1884", "mqtt://[fe80::1]:1884"),
    ],
)
def test_a_url_names_host_port_and_whether_tls_is_used(monkeypatch, url, shown):
    monkeypatch.setenv("MQTT_URL", url)
    monkeypatch.setenv("MQTT_PASSWORD", "geheim")
    broker = broker_of(load_settings())
    assert str(broker) == shown
    assert broker.password == "geheim"
    assert "geheim" not in repr(broker)


def test_without_a_url_the_message_names_the_missing_variable():
    with pytest.raises(ConfigurationError, match="MQTT_URL is not set"):
        broker_of(load_settings())


@pytest.mark.parametrize(
    ("hour", "minute", "valid"),
    [
        ("*", "*/1", timedelta(minutes=4)),
        ("*", "*/15", timedelta(minutes=46)),
        ("*", "0", timedelta(hours=3, minutes=1)),
    ],
)
def test_a_value_is_current_until_three_polls_are_missing(hour, minute, valid):
    assert valid_for(Trigger(hour, minute), NOON + timedelta(minutes=15)) == valid


def test_at_night_the_values_of_a_trigger_for_the_day_stay_current():
    assert valid_for(Trigger("8-18", "*/1"), NOON + timedelta(hours=8)) > timedelta(hours=12)


def test_a_sensor_expires_after_three_of_the_longest_intervals(monkeypatch):
    monkeypatch.setenv("INFLUX_UPDATER_CRON_MINUTE_TRIGGER", "*/15")
    assert options_of(load_settings(), "1", values_only=False).expires_after_s == 46 * 60


def test_meters_of_the_database_are_published_and_disabled_ones_are_not(config_engine):
    with config_engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO registers VALUES ('t', 0, 'voltageL1', 'V', 3, 3, 2, 2)")
        connection.exec_driver_sql(
            "INSERT INTO energy_meters VALUES (1, 'h', 502, 1, 't', 'Garage', true),"
            " (2, 'h', 502, 2, 't', null, false), (3, 'h', 502, 3, 'unknown', null, true)"
        )
        connection.exec_driver_sql(
            "INSERT INTO meter_labels (meter_id, labels, read_at, configuration)"
            " VALUES (1, '{\"serialNumber\": \"4711\"}', now(), 'x')"
        )
        connection.exec_driver_sql("INSERT INTO meter_status (id, polled_at) VALUES (1, '2026-01-01 12:00+00')")
    fleet = load_published_fleet(config_engine)
    meters = fleet.meters
    assert fleet.polled == {1: int(NOON.timestamp() * 1000)}
    assert meters[1].properties == {"serial_number": "4711", "model": "t"}
    assert {id_: (meter.name, list(meter.levels.values())) for id_, meter in meters.items()} == {
        1: ("Garage", ["voltageL1"]),
        3: ("meter 3", []),  # misconfigured: known, so that nothing of it is removed
    }
