"""The page of each meter in Dagster: values, next attempt, Grafana; meters that are asleep; counters that fall."""

from datetime import UTC, datetime, timedelta

import pytest
from dagster import DagsterEventType
from support.meters import SimulatedUnit, encode_value, inputs

from emm_pipeline.alerts.state import meter_conditions as alert_conditions
from emm_pipeline.condition.meters import meter_conditions
from emm_pipeline.defs.runs import ScheduledPoll
from emm_pipeline.fleet import DataType
from emm_pipeline.polling.sharding import Shard
from emm_pipeline.polling.timing import Window
from emm_pipeline.settings import current_settings
from emm_pipeline.status import State


def unit(energy=500.0, **faults):
    words = {(4, address): 0 for address in range(80)}
    for address, value in {0: 230.5, 52: 1234.0, 72: energy}.items():
        words |= inputs(address, encode_value(value, DataType.FLOAT))
    return SimulatedUnit(words, **faults)


@pytest.fixture
def two(pipeline, polled_gateway):
    """Two meters behind one gateway, discovered, with an energy counter; the clock is the test's own."""
    gateway = polled_gateway({1: unit(), 2: unit()})
    for number in (1, 2):
        pipeline.add_meter(number, gateway.port, unit_id=number)
    pipeline.sql("UPDATE energy_meters SET description = 'heat pump / cellar' WHERE id = 2")
    pipeline.sql("INSERT INTO registers VALUES ('sdm630', 72, 'importActiveEnergy', 'kWh', 3, 4, 2, 2)")
    pipeline.sql("INSERT INTO meter_types (type, timeout_s) VALUES ('sdm630', 1)")
    assert pipeline.run("discovery").success
    return gateway


def poll(pipeline, *, due=True):
    """Poll as the schedule does; `due` ends the pauses of failing meters."""
    if due:
        pipeline.sql("UPDATE meter_status SET next_attempt_at = NULL")
    now = datetime.now(UTC)
    return pipeline.run("poll", tags=ScheduledPoll(Shard(), Window(now, now + timedelta(seconds=200))).tags())


def read_pages(pipeline, result):
    """Return the metadata of the meters that a run reported as read, by id."""
    events = pipeline.events(result, DagsterEventType.ASSET_MATERIALIZATION)
    return {int(event.partition): event.event_specific_data.materialization.metadata for event in events}


def unread_pages(pipeline, result):
    """Return the metadata of the meters that a run reported as failing or asleep, by id."""
    events = pipeline.events(result, DagsterEventType.ASSET_OBSERVATION)
    observed = [event.event_specific_data.asset_observation for event in events if event.partition]
    return {int(each.partition): each.metadata for each in observed}


def state_of(pipeline, id_):
    settings = current_settings()
    return next(each.status for each in meter_conditions(pipeline.engine, settings) if each.id == id_)


def test_the_page_of_a_meter_shows_its_last_values_with_their_time(pipeline, two):
    page = read_pages(pipeline, poll(pipeline))[1]
    shown = page["last values"].value
    assert shown.startswith("importActiveEnergy 500 kWh, voltageL1 230.5 V, activePower 1234 (")
    assert f"{datetime.fromtimestamp(page['read at'].value, UTC):%Y-%m-%d %H:%M:%S} UTC" in shown


def test_the_page_links_the_meters_dashboard_in_grafana(pipeline, two, monkeypatch):
    assert "values over time" not in read_pages(pipeline, poll(pipeline))[2], "the address is not known"
    monkeypatch.setenv("GRAFANA_URL", "https://emm.example.org:3443/")
    current_settings.cache_clear()
    two.units[1].silent = True
    result = poll(pipeline)
    dashboard = "https://emm.example.org:3443/d/emm-meter?var-meter="
    assert read_pages(pipeline, result)[2]["values over time"].value == f"{dashboard}heat%20pump%20%2F%20cellar"
    assert unread_pages(pipeline, result)[1]["values over time"].value == f"{dashboard}1"


def test_the_page_of_a_failing_meter_says_when_it_is_read_next(pipeline, two):
    two.units[2].silent = True
    page = unread_pages(pipeline, poll(pipeline))[2]
    assert page["next attempt"].value == "with the next poll"
    for _ in range(3):
        result = poll(pipeline)
    assert unread_pages(pipeline, result) == {}, "nothing has changed"
    pipeline.sql("UPDATE meter_status SET observed_at = observed_at - interval '1 hour'")
    page = unread_pages(pipeline, poll(pipeline))[2]
    next_attempt = datetime.fromtimestamp(page["next attempt"].value, UTC)
    assert datetime.now(UTC) < next_attempt < datetime.now(UTC) + timedelta(minutes=6)


def test_a_silent_meter_that_may_be_off_is_asleep_everywhere_and_no_run_is_red(pipeline, two):
    pipeline.sql("UPDATE energy_meters SET may_be_off = true WHERE id = 2")
    assert pipeline.run("discovery").success
    assert poll(pipeline).success
    two.units[2].silent = True
    asleep = poll(pipeline)
    assert asleep.success
    page = unread_pages(pipeline, asleep)[2]
    assert page["status"].value == "asleep"
    assert "no reply" in page["reason"].value
    assert "asleep since" in page
    for _ in range(3):
        result = poll(pipeline)
        assert result.success
        assert unread_pages(pipeline, result) == {}, "its page says so already"
    assert pipeline.run("poll").success, "a person's poll does not fail either"
    assert pipeline.statuses()["failed"] == set()
    assert state_of(pipeline, 2).state is State.ASLEEP
    assert [each.subject for each in alert_conditions(pipeline.engine)] == []
    assert pipeline.sql("SELECT status FROM emm_poll WHERE id = 2 ORDER BY time DESC LIMIT 1") == [("asleep",)]


def test_a_meter_that_wakes_is_shown_as_ok_at_once_even_if_good_states_are_reported_rarely(pipeline, two, monkeypatch):
    monkeypatch.setenv("STATUS_INTERVAL_S", "3600")
    current_settings.cache_clear()
    pipeline.sql("UPDATE energy_meters SET may_be_off = true WHERE id = 2")
    pipeline.run("discovery")
    poll(pipeline)
    two.units[2].silent = True
    assert 2 in unread_pages(pipeline, poll(pipeline))
    two.units[2].silent = False
    assert read_pages(pipeline, poll(pipeline))[2]["status"].value == "ok"
    assert state_of(pipeline, 2).state is State.OK


def test_a_meter_that_may_be_off_and_replies_with_an_error_fails(pipeline, two):
    pipeline.sql("UPDATE energy_meters SET may_be_off = true WHERE id = 2")
    pipeline.run("discovery")
    two.units[2].exception = 4
    assert not poll(pipeline).success
    assert state_of(pipeline, 2).state is State.FAILING


def check(pipeline, result):
    events = pipeline.events(result, DagsterEventType.ASSET_CHECK_EVALUATION)
    (found,) = [e.event_specific_data for e in events if e.event_specific_data.check_name == "values_plausible"]
    return [row.data for value in found.metadata.values() for row in getattr(value, "records", [])]


def test_a_counter_that_falls_makes_its_meter_degraded_until_it_has_reached_its_former_value(pipeline, two):
    assert check(pipeline, poll(pipeline)) == []
    two.units[2].registers |= inputs(72, encode_value(499.0, DataType.FLOAT))
    result = poll(pipeline)
    assert result.success, "the meter was read"
    (row,) = check(pipeline, result)
    assert (row["id"], row["measurement"], row["issue"]) == (2, "importActiveEnergy", "implausible")
    assert "fell from 500 to 499 kWh" in row["reason"]
    assert f"{datetime.now(UTC):%Y-%m-%d}" in row["since"]
    page = read_pages(pipeline, result)[2]
    assert page["status"].value == "degraded"
    assert "fell from 500 to 499 kWh" in page["reason"].value
    assert "degraded since" in page
    status = state_of(pipeline, 2)
    assert status.state is State.DEGRADED
    assert "fell from 500 to 499 kWh" in status.reason
    assert status.since is not None
    assert state_of(pipeline, 1).state is State.OK
    assert pipeline.sql("SELECT status FROM emm_poll WHERE id = 2 ORDER BY time DESC LIMIT 1") == [("degraded",)]

    two.units[2].registers |= inputs(72, encode_value(500.5, DataType.FLOAT))
    assert check(pipeline, poll(pipeline)) == []
    assert state_of(pipeline, 2).state is State.OK


def test_a_counter_may_be_lower_after_the_meters_row_or_its_scale_was_changed(pipeline, two):
    poll(pipeline)
    pipeline.sql("UPDATE registers SET scale = 0.001 WHERE measurement_name = 'importActiveEnergy'")
    assert pipeline.run("discovery").success
    assert check(pipeline, poll(pipeline)) == []
    two.units[2].registers |= inputs(72, encode_value(100.0, DataType.FLOAT))
    assert [row["id"] for row in check(pipeline, poll(pipeline))] == [2]


def test_a_counter_that_falls_between_two_sample_times_of_one_run_is_found(
    pipeline, simulated_gateway, wall_clock, monkeypatch
):
    pipeline.add_meter(1, simulated_gateway({1: SimulatedUnit(falling(600.0, 550.0))}).port)
    pipeline.sql("INSERT INTO registers VALUES ('sdm630', 72, 'importActiveEnergy', 'kWh', 3, 4, 2, 2)")
    assert pipeline.run("discovery").success
    tick = wall_clock.now(UTC)
    monkeypatch.setenv("INFLUX_UPDATER_CRON_SECOND_TRIGGER", "0,10")
    current_settings.cache_clear()
    result = pipeline.run("poll", tags=ScheduledPoll(Shard(), Window(tick, tick + timedelta(seconds=40))).tags())
    (row,) = check(pipeline, result)
    assert "fell from 600 to 550 kWh" in row["reason"]


def falling(*energies):
    """Return registers whose energy counter has the next of these values at each reading."""
    words = unit().registers
    remaining = list(energies)

    def word(function_code, address):
        if (function_code, address) == (4, 72) and remaining:
            words.update(inputs(72, encode_value(remaining.pop(0), DataType.FLOAT)))
        return words.get((function_code, address))

    return word
