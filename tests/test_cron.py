"""Triggers: what the HOUR, MINUTE and SECOND settings mean."""

import itertools
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emm_pipeline.cron import Trigger, parse_field


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("0", (0,)),
        ("59", (59,)),
        ("*/10", (0, 10, 20, 30, 40, 50)),
        ("*/59", (0, 59)),
        ("5-8", (5, 6, 7, 8)),
        ("5-20/5", (5, 10, 15, 20)),
        ("7,7,3", (3, 7)),
        ("0, 30-31", (0, 30, 31)),
        ("08", (8,)),
        ("*,5", tuple(range(60))),
    ],
)
def test_a_field_means_the_seconds_that_cron_would_take(text, numbers):
    assert parse_field(text, 59) == numbers


@pytest.mark.parametrize("text", ["60", "x", "", ",", "5/2", "9-3", "*/0", "*/60", "-1", "1.5", "*/*", "1-", "\u0661"])
def test_what_is_no_field_is_refused_with_what_is_allowed(text):
    with pytest.raises(ValueError, match="numbers from 0 to 59"):
        parse_field(text, 59)


@given(st.integers(0, 59), st.integers(0, 59), st.integers(1, 59))
def test_a_range_with_a_step_starts_at_its_first_number_and_never_passes_its_last(first, last, step):
    first, last = sorted((first, last))
    numbers = parse_field(f"{first}-{last}/{step}", 59)
    assert numbers[0] == first
    assert numbers[-1] <= last < numbers[-1] + step
    assert all(later - earlier == step for earlier, later in itertools.pairwise(numbers))


def test_hour_and_minute_become_dagsters_cron_string():
    assert Trigger(hour="8-18", minute="*/15").cron == "*/15 8-18 * * *"


def test_the_next_tick_is_the_next_minute_that_both_fields_name():
    trigger = Trigger(hour="8", minute="0,30")
    assert trigger.next_tick(datetime(2026, 1, 1, 8, 0, 59, tzinfo=UTC)) == datetime(2026, 1, 1, 8, 30, tzinfo=UTC)
    assert trigger.next_tick(datetime(2026, 1, 1, 8, 30, tzinfo=UTC)) == datetime(2026, 1, 2, 8, 0, tzinfo=UTC)
