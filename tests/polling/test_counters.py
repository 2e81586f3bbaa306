"""Energy counters that fall are implausible: which register, before, after, and since when."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from support.frames import reading, readings

from emm_pipeline.catalog import load_catalogue
from emm_pipeline.fleet import EnergyMeter, MeterType
from emm_pipeline.plausibility import is_counter
from emm_pipeline.polling.counters import FALL_LASTS, compare, load
from emm_pipeline.readings import MeterReading
from emm_pipeline.registers import CombinedMeasurement, Part
from emm_pipeline.status import RegisterIssueKind

NOON = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ENERGY = {"measurement": "importActiveEnergy", "unit": "kWh"}
METERS = [EnergyMeter(id_, "10.0.0.5", 502, id_, "t") for id_ in (1, 2)]
TYPE = MeterType("t", ())


def poll(before, *rows, at=NOON, meter_type=TYPE):
    """Compare these rows with the counters before; they are saved and loaded in between, as between two runs."""
    done = [MeterReading(meter, at) for meter in METERS]
    found = compare(done, readings(*(reading(**row) for row in rows)), {"t": meter_type}, before, at)
    return {id_: load(text) for id_, text in found.to_save().items()}, found.fallen


def test_a_counter_that_rises_or_stays_is_plausible():
    saved, fallen = poll({}, ENERGY | {"value": 1000.0}, ENERGY | {"id": 2, "value": 5.0})
    for value in (1000.0, 1000.5):
        saved, fallen = poll(saved, ENERGY | {"value": value}, ENERGY | {"id": 2, "value": 5.0})
        assert fallen == {}
    assert saved == {1: {"importActiveEnergy kWh": 1000.5}, 2: {"importActiveEnergy kWh": 5.0}}


def test_a_counter_that_falls_is_named_with_the_value_before_and_after_and_since_when():
    saved, _ = poll({}, ENERGY | {"value": 1000.25}, ENERGY | {"id": 2, "value": 5.0})
    _, fallen = poll(saved, ENERGY | {"value": 999.0}, ENERGY | {"id": 2, "value": 5.5})
    ((issue,),) = [fallen[1]]
    assert set(fallen) == {1}
    assert (issue.measurement, issue.kind, issue.since) == ("importActiveEnergy", RegisterIssueKind.IMPLAUSIBLE, NOON)
    assert "fell from 1000.25 to 999 kWh" in issue.reason


def test_a_fall_is_reported_until_the_counter_has_reached_its_former_value():
    saved, _ = poll({}, ENERGY | {"value": 1000.0})
    for minutes, value in enumerate((0.0, 3.0, 998.0)):
        saved, fallen = poll(saved, ENERGY | {"value": value}, at=NOON + minutes * MINUTE)
        assert fallen[1][0].since == NOON
        assert "fell from 1000 to" in fallen[1][0].reason
    saved, fallen = poll(saved, ENERGY | {"value": 1000.0}, at=NOON + 3 * MINUTE)
    assert fallen == {}
    assert saved[1] == {"importActiveEnergy kWh": 1000.0}


def test_a_meter_that_was_replaced_counts_from_its_lower_value_after_a_day():
    saved, _ = poll({}, ENERGY | {"value": 1000.0})
    saved, fallen = poll(saved, ENERGY | {"value": 1.0})
    assert fallen
    saved, fallen = poll(saved, ENERGY | {"value": 2.0}, at=NOON + FALL_LASTS)
    assert fallen == {}
    _, fallen = poll(saved, ENERGY | {"value": 1.5}, at=NOON + FALL_LASTS + MINUTE)
    assert "fell from 2 to 1.5 kWh" in fallen[1][0].reason


def test_a_counter_of_a_meter_that_is_mounted_backwards_rises_below_zero():
    saved, _ = poll({}, ENERGY | {"value": -1000.0})
    saved, fallen = poll(saved, ENERGY | {"value": -1001.0})
    assert fallen == {}
    assert poll(saved, ENERGY | {"value": -900.0})[1]


def test_a_sum_from_which_a_part_is_subtracted_may_fall():
    parts = (Part("importActiveEnergy"), Part("exportActiveEnergy", -1.0))
    difference = replace(TYPE, combined=(CombinedMeasurement("gridEnergy", "kWh", parts),))
    rows = {"measurement": "gridEnergy", "unit": "kWh"}
    saved, _ = poll({}, rows | {"value": 100.0}, ENERGY | {"value": 7.0}, meter_type=difference)
    _, fallen = poll(saved, rows | {"value": 90.0}, ENERGY | {"value": 6.0}, meter_type=difference)
    assert [issue.measurement for issue in fallen[1]] == ["importActiveEnergy"]


def test_a_counter_that_was_not_read_this_time_keeps_its_value():
    saved, _ = poll({}, ENERGY | {"value": 1000.0}, ENERGY | {"measurement": "exportActiveEnergy", "value": 7.0})
    saved, _ = poll(saved, ENERGY | {"measurement": "exportActiveEnergy", "value": 8.0})
    assert saved[1]["importActiveEnergy kWh"] == 1000.0


@pytest.mark.parametrize("text", [None, "", "no JSON", "[1]"])
def test_saved_counters_that_cannot_be_read_are_as_none(text):
    assert load(text) == {}


def test_saved_counters_are_readable_json():
    saved, _ = poll({}, ENERGY | {"value": 1000.25})
    assert json.loads(json.dumps(saved[1])) == {"importActiveEnergy kWh": 1000.25}


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("importActiveEnergy", "kWh"),
        ("exportReactiveEnergyL1", "kvarh"),
        ("apparent_energy", "VAh"),
        ("cabinetEnergy", "Wh"),
        ("generatedEnergy", "MWh"),
        ("totalActiveEnergy", "GWh"),
    ],
)
def test_energies_only_rise(name, unit):
    assert is_counter(name, unit)


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("generatedEnergyToday", "kWh"),
        ("netActiveEnergy", "kWh"),
        ("energy_balance", "kWh"),
        ("dailyEnergy", "kWh"),
        ("resettableImportEnergy", "kWh"),
        ("storedEnergy", "Wh"),
        ("activePower", "kW"),
        ("voltageL1", "V"),
        ("importActiveEnergy", None),
    ],
)
def test_energies_of_a_period_balances_contents_and_other_quantities_may_fall(name, unit):
    assert not is_counter(name, unit)


def test_of_the_catalogues_energies_all_but_those_of_a_period_and_a_batterys_content_are_counters():
    energies = {
        (register.measurement_name, register.data_unit)
        for entry in load_catalogue().values()
        for register in (*entry.meter_type.registers, *entry.meter_type.combined)
        if register.data_unit and register.data_unit.endswith("h")
    }
    assert len(energies) > 20
    others = {name for name, unit in energies if not is_counter(name, unit)}
    assert {name for name in others if not name.endswith("Today")} == {
        *("batteryCapacity", "batteryStoredEnergy", "sessionEnergy")
    }
