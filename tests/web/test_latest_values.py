"""The values that the page keeps in memory: of each meter the newest reading, and its power in the last hour."""

from hypothesis import given
from hypothesis import strategies as st

from emm_pipeline.stores.points import PointBatch
from emm_pipeline.web.live.chosen import choose
from emm_pipeline.web.live.latest import LatestValues
from emm_pipeline.web.live.trends import STEP_MS, STEPS, Trends, points_of

NOW = 1_772_366_400_000


def batch(*readings: tuple[int, int, dict[str, float]]) -> PointBatch:
    """Readings of meters: id, time, and value by measurement; names that begin with p are powers."""
    return PointBatch.of(
        [
            {
                "time": time,
                "id": id_,
                "description": f"meter {id_}",
                "measurement": name,
                "unit": "W" if name.startswith("p") else None,
                "value": value,
            }
            for id_, time, values in readings
            for name, value in values.items()
        ]
    )


def test_the_values_of_a_reading_are_those_of_its_meter():
    latest = LatestValues()
    latest.add(batch((1, NOW, {"power": 5.0, "u": 230.0}), (2, NOW, {"u": 231.0})))
    assert list(latest.of(1).rows()) == [("power", "W", 5.0), ("u", None, 230.0)]
    assert list(latest.of(2).rows()) == [("u", None, 231.0)]
    assert latest.of(1).power_w == 5.0
    assert latest.of(2).power_w is None
    assert latest.of(3) is None


readings = st.lists(
    st.tuples(
        st.integers(1, 4),
        st.integers(0, 5).map(lambda minutes: NOW + 60_000 * minutes),
        st.dictionaries(st.sampled_from(["power", "u", "i"]), st.floats(-1e6, 1e6), min_size=1),
    ),
    unique_by=lambda reading: reading[:2],
)


@given(st.lists(readings, max_size=5))
def test_of_any_batches_in_any_order_the_newest_reading_is_kept(batches):
    latest, newest = LatestValues(), {}
    for one in batches:
        latest.add(batch(*one))
        for id_, time, values in one:
            if id_ not in newest or newest[id_][0] <= time:
                newest[id_] = time, values
    assert {id_: reading.time for id_, reading in latest.all().items()} == {
        id_: time for id_, (time, _) in newest.items()
    }
    for id_, (time, values) in newest.items():
        same_time = [each[2] for one in batches for each in one if each[:2] == (id_, time)]
        assert {name: value for name, _, value in latest.of(id_).rows()} in [values, *same_time]


def test_values_of_the_store_do_not_replace_newer_ones():
    latest = LatestValues()
    latest.add(batch((1, NOW, {"u": 2.0})))
    latest.fill(batch((1, NOW - 60_000, {"u": 1.0}), (2, NOW - 60_000, {"u": 3.0})))
    assert [next(iter(latest.of(id_).rows()))[2] for id_ in (1, 2)] == [2.0, 3.0]


def test_removed_meters_are_forgotten():
    latest = LatestValues()
    latest.add(batch((1, NOW, {"u": 1.0}), (2, NOW, {"u": 1.0})))
    latest.forget(1)
    assert set(latest.all()) == {2}


def test_a_trend_shows_the_mean_of_each_step_and_gaps():
    trends = Trends()
    trends.add(1, NOW, 10.0)
    trends.add(1, NOW + 1000, 20.0)
    trends.add(1, NOW + 2 * STEP_MS, 40.0)
    shown = trends.of(1, NOW + 2 * STEP_MS)
    assert shown[-3:] == [15.0, None, 40.0]
    assert shown[:-3] == [None] * (STEPS - 3)


@given(st.lists(st.tuples(st.integers(0, 3 * STEPS), st.floats(-1e6, 1e6)), min_size=1))
def test_a_trend_never_shows_a_value_that_is_older_than_an_hour(values):
    trends = Trends()
    for step, value in values:
        trends.add(7, NOW + step * STEP_MS, value)
    last = max(step for step, _ in values)
    shown = trends.of(7, NOW + last * STEP_MS)
    assert shown[-1] is not None
    for place, value in enumerate(shown):
        in_step = [one for step, one in values if step == last - STEPS + 1 + place]
        assert value is None or min(in_step) - 1e-6 <= value <= max(in_step) + 1e-6


@given(st.lists(st.none() | st.floats(-1e9, 1e9), max_size=40))
def test_a_trend_is_drawn_within_its_picture(values):
    for line in points_of(values, 90, 24):
        for point in line.split():
            x, y = map(int, point.split(","))
            assert 0 <= x <= 90
            assert 0 <= y <= 24


def test_the_overview_shows_totals_before_parts_and_import_before_export():
    names = ("activePowerL1", "maxPower", "activePower", "activeEnergyExport", "activeEnergyImport", "voltageL1")
    units = ("W", "W", "W", "kWh", "kWh", "V")
    assert choose(names, units) == (2, 4)
    assert choose(("voltageL1",), ("V",)) == (None, None)
    assert choose(("powerL1", "energyToday"), ("kW", "Wh")) == (0, 1), "better than nothing"
