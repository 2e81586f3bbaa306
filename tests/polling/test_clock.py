"""A wrong clock is detected by times that have certainly passed."""

import re
from datetime import UTC, date, datetime, timedelta

import pytest

from emm_pipeline import BUILD_DATE
from emm_pipeline.polling.clock import clock_issue
from emm_pipeline.settings import PROJECT_ROOT

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
BUILT = date(2026, 2, 1)


@pytest.mark.parametrize("newest_reading", [None, NOON - timedelta(days=1), NOON, NOON + timedelta(seconds=5)])
def test_a_clock_that_is_past_the_build_date_and_the_newest_reading_may_be_right(newest_reading):
    assert clock_issue(NOON, newest_reading, BUILT) is None


def test_a_clock_before_the_newest_reading_is_wrong_and_both_times_and_the_document_are_named():
    issue = clock_issue(NOON, NOON + timedelta(seconds=6), BUILT)
    assert issue == (
        "the clock of this computer is wrong: it shows 2026-03-01 12:00:00 UTC, but a reading of 2026-03-01 12:00:06 "
        'UTC is stored; see "A wrong clock" in docs/operation.md'
    )


@pytest.mark.parametrize(
    ("now", "wrong"),
    [
        (datetime(1970, 1, 1, 0, 0, 20, tzinfo=UTC), True),
        (datetime(2026, 1, 30, 23, 59, 59, tzinfo=UTC), True),
        (datetime(2026, 1, 31, tzinfo=UTC), False),
    ],
)
def test_a_clock_more_than_a_day_before_the_build_date_is_wrong_also_before_anything_was_read(now, wrong):
    issue = clock_issue(now, None, BUILT)
    assert bool(issue) is wrong
    assert issue is None or "this version of EMM was released on 2026-02-01" in issue


def test_the_build_date_is_that_of_the_newest_version():
    dated = re.findall(r"^## \d\S* \((\d{4}-\d\d-\d\d)\)$", (PROJECT_ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert date.fromisoformat(dated[0]) == BUILD_DATE


def test_the_document_that_is_named_has_the_section():
    assert "\n### A wrong clock\n" in (PROJECT_ROOT / "docs" / "operation.md").read_text()
