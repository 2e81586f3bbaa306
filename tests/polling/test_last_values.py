"""The last values of a meter in one line."""

from support.frames import reading, readings

from emm_pipeline.polling.last_values import SHOWN, last_values

POWER = {"measurement": "activePower", "unit": "W"}


def test_power_and_energy_come_first_and_one_value_is_shown_of_each_unit():
    frame = readings(
        reading(value=230.512345),
        reading(measurement="voltageL2", value=229.0),
        reading(measurement="powerFactor", unit=None, value=0.98),
        reading(measurement="importActiveEnergy", unit="kWh", value=1234567.25),
        reading(**POWER, value=1234.0),
    )
    shown = "activePower 1234 W, importActiveEnergy 1234567 kWh, voltageL1 230.512 V, powerFactor 0.98; and 1 more"
    assert last_values(frame, {1}) == {1: shown}


def test_only_the_requested_meters_are_described_each_with_its_own_values():
    rows = [reading(id=id_, **POWER, value=100.0 * id_) for id_ in (1, 2, 3)]
    assert last_values(readings(*rows), {1, 3}) == {1: "activePower 100 W", 3: "activePower 300 W"}


def test_a_meter_with_many_units_is_described_in_one_line():
    rows = [reading(measurement=f"m{number}", unit=f"u{number}", value=1.0) for number in range(30)]
    assert last_values(readings(*rows), {1})[1].endswith(f"; and {30 - SHOWN} more")


def test_without_values_no_meter_is_described():
    assert last_values(readings(), {1}) == {}
    assert last_values(readings(reading()), set()) == {}
