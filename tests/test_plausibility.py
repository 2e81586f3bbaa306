"""Values that no meter measures."""

import pytest
from support.frames import reading, readings

from emm_pipeline.plausibility import implausibility, implausible_values


@pytest.mark.parametrize(
    ("measurement", "unit", "value"),
    [
        ("frequency", "Hz", 50.02),
        ("frequency", "Hz", 0.0),
        ("voltageL1", "V", 20_400.0),
        ("powerFactorL1", None, -1.0),
        ("activePower", "W", -3.2e9),
        ("importActiveEnergy", "kWh", 0.0),
    ],
)
def test_usual_values_of_meters_are_plausible(measurement, unit, value):
    assert implausibility(measurement, unit, value) is None


@pytest.mark.parametrize(
    ("measurement", "unit", "value", "named"),
    [
        ("frequency", "Hz", 231.4, "15 to 70"),
        ("powerFactorL1", None, 14.0, "-1.01 to 1.01"),
        ("powerFactor", None, 7e-42, "size"),
        ("activePower", "W", 1e30, "size"),
        ("voltageL1", "V", 4e7, "-500000 to 500000"),
    ],
)
def test_a_value_of_a_swapped_word_order_is_implausible_and_says_why(measurement, unit, value, named):
    reason = implausibility(measurement, unit, value)
    assert named in reason
    assert "check data type" in reason


def test_of_many_values_the_implausible_ones_are_found_with_their_rows():
    frame = readings(
        reading(measurement="frequency", unit="Hz", value=50.0),
        reading(measurement="powerFactor", unit=None, value=3.0),
        reading(id=2, measurement="frequency", unit="Hz", value=981.0),
    )
    found = implausible_values(frame)
    assert [(each.row, each.measurement) for each in found] == [(1, "powerFactor"), (2, "frequency")]


def test_no_values_are_not_implausible():
    assert implausible_values(readings()) == []
