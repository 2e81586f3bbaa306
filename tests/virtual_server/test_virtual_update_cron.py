"""The times of a virtual server's updates."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emm_pipeline import cron
from virtual_modbustcp_server.update_cron import UpdateCron, parse_field

SECOND = "VIRTUAL_SERVER_UPDATE_CRON_SECOND_TRIGGER"
MINUTE = "VIRTUAL_SERVER_UPDATE_CRON_MINUTE_TRIGGER"
HOUR = "VIRTUAL_SERVER_UPDATE_CRON_HOUR_TRIGGER"
NOON = datetime(2024, 6, 1, 12, 0, tzinfo=UTC)


def test_without_settings_updates_come_each_minute_at_second_50():
    cron = UpdateCron({})
    assert cron.next_after(NOON) == NOON.replace(second=50)
    assert cron.next_after(NOON, 3) == NOON.replace(minute=2, second=50)


def test_an_empty_variable_counts_as_absent():
    assert UpdateCron({SECOND: "", "TZ": ""}).next_after(NOON) == NOON.replace(second=50)


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        ("*/20", [20, 40, 0]),
        ("7", [7, 7, 7]),
        ("10-12", [10, 11, 12]),
        ("10-30/15", [10, 25, 10]),
        ("59,3", [3, 59, 3]),
    ],
)
def test_every_form_of_a_field_is_accepted(second, expected):
    cron = UpdateCron({SECOND: second})
    assert [cron.next_after(NOON, n).second for n in (1, 2, 3)] == expected


def test_the_hours_are_those_of_the_time_zone():
    environment = {HOUR: "6", MINUTE: "0", SECOND: "0"}
    assert UpdateCron({**environment, "TZ": "Europe/Warsaw"}).next_after(NOON).astimezone(UTC).hour == 4
    assert UpdateCron(environment).next_after(NOON).astimezone(UTC).hour == 6


@pytest.mark.parametrize("value", ["60", "*/0", "*/60", "5-3", "a", "1,,2", "-1", "1/5", "* *", "1.5", "jan", "1;2"])
def test_an_invalid_trigger_is_refused_with_its_name_its_value_and_the_allowed_values(value):
    with pytest.raises(ValueError, match="allowed are") as failure:
        UpdateCron({SECOND: value})
    assert f"{SECOND}={value!r}" in str(failure.value)
    assert "numbers from 0 to 59" in str(failure.value)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../etc/passwd", "/etc/localtime"])
def test_an_invalid_time_zone_is_refused_with_its_name(zone):
    with pytest.raises(ValueError, match=r"TZ=.*no such time zone"):
        UpdateCron({"TZ": zone})


@given(st.text("*/-,0123456789 a", max_size=9), st.sampled_from([23, 59]))
def test_triggers_mean_the_same_here_and_in_the_pipeline(text, highest):
    def parsed(function):
        try:
            return list(function(text, highest))
        except ValueError:
            return None

    assert parsed(parse_field) == parsed(cron.parse_field)
