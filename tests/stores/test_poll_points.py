"""Poll points as columns: they are the same points."""

import pickle
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from support.frames import NOON, poll

from emm_pipeline.readings import PollPoint
from emm_pipeline.stores.poll_points import PollPoints, sums_of

TEXTS = st.none() | st.text(min_size=1, max_size=3)
POINTS = st.builds(
    PollPoint,
    time=st.integers(0, 10_000).map(lambda ms: NOON + timedelta(milliseconds=ms)),
    id=st.integers(1, 4),
    description=TEXTS,
    ok=st.booleans(),
    latency_ms=st.floats(0, 5000),
    requests=st.integers(0, 3),
    points=st.integers(0, 3),
    error=TEXTS,
    status=TEXTS,
    silent=st.booleans(),
)


@given(st.lists(POINTS, max_size=6), st.slices(6))
def test_columns_contain_the_points_in_their_order_also_after_pickling(points, some):
    columns = pickle.loads(pickle.dumps(PollPoints.of(points)))
    assert list(columns) == points
    assert [columns[index] for index in range(len(points))] == points
    assert list(columns[some]) == points[some]


@given(st.lists(st.lists(POINTS, max_size=4, unique_by=lambda point: point.id), max_size=4))
def test_sums_are_those_of_the_meters_points_over_all_fleet_readings(fleet_readings):
    sums = sums_of([PollPoints.of(points) for points in fleet_readings])
    points = [point for points in fleet_readings for point in points]
    assert sums.keys() == {point.id for point in points}
    for meter_id, found in sums.items():
        own = [point for point in points if point.id == meter_id]
        assert found.read_at == max((point.time for point in own if point.points), default=None)
        assert found.points == sum(point.points for point in own)
        assert found.requests == sum(point.requests for point in own)
        assert found.latency_ms == max(point.latency_ms for point in own)


def test_the_meters_that_were_not_read_are_those_that_failed_or_were_silent():
    points = PollPoints.of([poll(id=1), poll(id=2, ok=False, error="no reply"), poll(id=3, silent=True)])
    assert points.ids_of_unread() == [2, 3]
    assert [point.id for point in points.of_meters({1, 3, 9})] == [1, 3]
