"""The changes that are reported by mail."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emm_pipeline.alerts.rules import FAILURES, Alert, AlertChanges, AlertLine, Condition, compare, headline, lines

NOON = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
WARSAW = ZoneInfo("Europe/Warsaw")


def failing(failures: int, since: datetime = NOON, **other) -> Condition:
    return Condition("meter 5", "meter 5 (kitchen)", failures, since, "10.0.0.5:502 does not answer", **other)


def well(at: datetime) -> Condition:
    return Condition("meter 5", "meter 5 (kitchen)", last_ok_at=at)


TOLD = Alert("meter 5", "meter 5 (kitchen)", NOON, "10.0.0.5:502 does not answer")


@pytest.mark.parametrize(("failures", "told"), [(0, False), (1, False), (2, False), (3, True), (4, True)])
def test_an_alert_is_raised_with_the_third_failure_in_a_row(failures, told):
    assert compare([failing(failures)], []) == AlertChanges(raised=(TOLD,) if told else ())


def test_a_reported_alert_is_not_reported_again():
    assert not compare([failing(50)], [TOLD])


def test_an_alert_is_resolved_when_the_meter_was_read_after_it_was_raised():
    assert compare([well(NOON + timedelta(seconds=1))], [TOLD]) == AlertChanges(resolved=(TOLD,))


@pytest.mark.parametrize(
    "state", [well(NOON - timedelta(hours=1)), Condition("meter 5", "meter 5"), failing(1), failing(2)]
)
def test_a_meter_that_does_not_fail_for_the_moment_but_was_not_read_either_has_not_recovered(state):
    assert not compare([state], [TOLD])


def test_the_alert_of_a_removed_meter_is_dropped_without_a_report():
    changes = compare([], [TOLD])
    assert changes == AlertChanges(dropped=(TOLD,))
    assert lines(changes, {}, WARSAW) == []


def test_a_line_has_the_meter_the_time_in_the_zone_of_the_triggers_and_the_reason():
    changes = AlertChanges(raised=(TOLD,), resolved=(TOLD,))
    assert lines(changes, {"meter 5": NOON + timedelta(hours=1)}, WARSAW) == [
        AlertLine(True, "2026-07-01 14:00:00 CEST  meter 5 (kitchen) fails: 10.0.0.5:502 does not answer"),
        AlertLine(
            False,
            "2026-07-01 15:00:00 CEST  meter 5 (kitchen) has recovered; it had failed since 2026-07-01 14:00:00 CEST",
        ),
    ]


@settings(deadline=None)
@given(name=st.text(max_size=500), reason=st.text(max_size=5000))
def test_a_line_is_one_short_line_whatever_texts_come_from_rows_and_devices(name, reason):
    (line,) = lines(AlertChanges(raised=(Alert("meter 5", name, NOON, reason),)), {}, WARSAW)
    assert len(line.text.splitlines()) == 1
    assert len(line.text) < 500


@pytest.mark.parametrize(
    ("begun", "ended", "text"), [(2, 0, "2 failing"), (0, 1, "1 recovered"), (2, 1, "2 failing, 1 recovered")]
)
def test_the_subject_has_the_numbers_of_raised_and_resolved_alerts(begun, ended, text):
    assert headline([AlertLine(True, "x")] * begun + [AlertLine(False, "x")] * ended) == text


@settings(deadline=None)
@given(st.lists(st.booleans(), max_size=60))
def test_raised_and_resolved_alternate_whatever_a_meter_does(samples):
    """True is a successful reading. The rules are applied after every reading, and changes saved as in the database."""
    told: list[Alert] = []
    state, told_now, turns = Condition("meter 5", "meter 5"), [], []
    for number, read in enumerate(samples):
        at = NOON + timedelta(minutes=number)
        if read:
            state = Condition("meter 5", "meter 5", last_ok_at=at)
        else:
            state = Condition("meter 5", "meter 5", state.failures + 1, state.since or at, "silent", state.last_ok_at)
        changes = compare([state], told)
        told = [*(one for one in told if one not in changes.resolved), *changes.raised]
        told_now = ["begun"] * len(changes.raised) + ["ended"] * len(changes.resolved)
        turns += told_now
    assert turns == ["begun", "ended"] * (len(turns) // 2) + ["begun"] * (len(turns) % 2)
    in_a_row = max((len(run) for run in "".join("x" if s else "." for s in samples).split("x")), default=0)
    assert bool(turns) == (in_a_row >= FAILURES)
