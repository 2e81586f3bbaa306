import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emm_pipeline.catalog.loader import load_catalogue
from emm_pipeline.fleet import (
    CombinedMeasurement,
    DataType,
    EnergyMeter,
    Fleet,
    FunctionCode,
    MeterType,
    Part,
    Register,
)
from emm_pipeline.mqtt.discovery import discovery_payload, update_messages
from emm_pipeline.mqtt.meters import PublishedMeter, published_meters
from emm_pipeline.mqtt.packets import json_payload
from emm_pipeline.mqtt.quantities import quantity_of
from emm_pipeline.mqtt.topics import Topics, level_names

TOPICS = Topics()
INPUT = FunctionCode.READ_INPUT_REGISTERS


@cache
def validator():
    import jsonschema  # takes two seconds, in each process that collects tests

    schema = json.loads((Path(__file__).parent / "device_discovery.schema.json").read_text())
    return jsonschema.Draft202012Validator(schema)


def payload_of(meter, *, as_json=False):
    payload = json.loads(discovery_payload(meter, TOPICS, "1.2.3", as_json=as_json))
    validator().validate(payload)
    return payload


def meter_with(*series, **fields):
    return PublishedMeter(5, "Garage", level_names(series), **fields)


def register(name, unit, scale=1.0, **fields):
    return Register(0, name, unit, DataType.FLOAT, INPUT, scale=scale, **fields)


def fleet_of(*registers, description="Garage", factor=1.0, combined=()):
    meter = EnergyMeter(5, "h", 502, 1, "sdm630", description, factor=factor)
    return Fleet((meter,), {"sdm630": MeterType("sdm630", registers, combined=combined)})


def components_of(fleet):
    return payload_of(published_meters(fleet, {})[5])["components"]


def test_a_meter_is_a_device_with_its_serial_number_and_model():
    fleet = fleet_of(register("voltageL1", "V"))
    labels = {5: {"Serial Number": " 4711 ", "model": "SDM630-V2", "firmware": "1.8", "other": "x"}}
    payload = payload_of(published_meters(fleet, labels)[5])
    assert payload["device"] == {
        "identifiers": ["emm_5"],
        "name": "Garage",
        "model": "SDM630-V2",
        "serial_number": "4711",
        "sw_version": "1.8",
    }
    assert payload["components"]["voltageL1"] == {
        "platform": "sensor",
        "unique_id": "emm_5_voltageL1",
        "name": "voltageL1",
        "state_topic": "emm/5/voltageL1",
        "unit_of_measurement": "V",
        "device_class": "voltage",
        "state_class": "measurement",
        "suggested_display_precision": 1,
    }
    assert [each["topic"] for each in payload["availability"]] == ["emm/status", "emm/status/5"]


def test_without_labels_and_description_the_type_and_the_id_name_the_device():
    for description in (None, "  "):
        device = payload_of(published_meters(fleet_of(register("x", None), description=description), {})[5])["device"]
        assert (device["name"], device["model"]) == ("meter 5", "sdm630")


@pytest.mark.parametrize(
    ("name", "unit", "scale", "classes"),
    [
        ("importActiveEnergy", "kWh", 1.0, ("energy", "total_increasing")),
        ("generatedEnergyToday", "Wh", 1.0, ("energy", "total_increasing")),
        ("importActiveEnergy", "kWh", -0.1, ("energy", "total")),
        ("netActiveEnergy", "kWh", 1.0, ("energy", "total")),
        ("energyNet", "MWh", 1.0, ("energy", "total")),
        ("batteryCapacity", "kWh", 1.0, ("energy_storage", "measurement")),
        ("batteryEnergy", "kWh", 1.0, ("energy_storage", "measurement")),
        ("batteryChargedEnergy", "kWh", 1.0, ("energy", "total_increasing")),
        ("importReactiveEnergy", "kvarh", 1.0, (None, "total_increasing")),
        ("activePower", "W", -1.0, ("power", "measurement")),
        ("reactivePower", "kvar", 1.0, (None, "measurement")),
        ("powerFactorL1", None, 1.0, ("power_factor", "measurement")),
        ("stateOfCharge", "%", 1.0, (None, "measurement")),
        ("operatingState", None, 1.0, (None, "measurement")),
        ("gasVolume", "m³", 1.0, ("gas", "total_increasing")),
        ("waterVolume", "L", 1.0, ("water", "total_increasing")),
        ("volume", "m³", 1.0, ("volume", "total_increasing")),
    ],
)
def test_a_counter_of_energy_suits_the_energy_dashboard_and_other_values_are_measurements(name, unit, scale, classes):
    meter = published_meters(fleet_of(register(name, unit, scale)), {})[5]
    sensor = payload_of(meter)["components"][name]
    assert (sensor.get("device_class"), sensor["state_class"]) == classes


def test_every_type_of_the_catalogue_makes_a_payload_that_home_assistant_accepts():
    for entry in load_catalogue().values():
        meter_type = entry.meter_type
        fleet = Fleet((EnergyMeter(5, "h", 502, 1, meter_type.name),), {meter_type.name: meter_type})
        for as_json in (False, True):
            payload = payload_of(published_meters(fleet, {})[5], as_json=as_json)
            assert len(payload["components"]) == len(set(meter_type.stored_series))


def test_labels_and_registers_that_are_not_stored_are_no_sensors_and_sums_are():
    fleet = fleet_of(
        register("importEnergy", "kWh", stored=False),
        Register(50, "serialNumber", None, DataType.STRING, INPUT, length=16),
        register("power", "W"),
        combined=(CombinedMeasurement("energy", "kWh", (Part("importEnergy"),)),),
    )
    components = components_of(fleet)
    assert components.keys() == {"power", "energy"}
    assert components["energy"]["state_class"] == "total_increasing"


@pytest.mark.parametrize(
    ("fields", "factor", "state_class"),
    [
        ({"scale": -1.0, "absolute": True}, 1.0, "total_increasing"),
        ({"uses_factor": True}, -40.0, "total"),
        ({"uses_factor": False}, -40.0, "total_increasing"),
        ({"uses_factor": True, "scale": -1.0}, -40.0, "total_increasing"),
        ({"sign_register": 9, "sign_mask": 1}, 1.0, "total"),
    ],
)
def test_a_counter_with_a_sign_may_fall(fields, factor, state_class):
    components = components_of(fleet_of(register("energy", "kWh", **fields), factor=factor))
    assert components["energy"]["state_class"] == state_class


def test_a_difference_of_counters_may_fall():
    parts = (Part("import"), Part("export", -1.0))
    fleet = fleet_of(
        register("import", "kWh"), register("export", "kWh"), combined=(CombinedMeasurement("both", "kWh", parts),)
    )
    assert components_of(fleet)["both"]["state_class"] == "total"


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)


@given(names, st.floats(allow_nan=False, allow_infinity=False))
def test_the_template_finds_the_value_of_any_name(name, value):
    """Home Assistant's templates are Jinja's; `value_json` is the parsed payload."""
    meter = meter_with((name, None))
    (sensor,) = payload_of(meter, as_json=True)["components"].values()
    template = jinja2.Environment(autoescape=False).from_string(sensor["value_template"])
    sent = json.loads(json_payload(0, {meter.levels[name, None]: value}))
    assert float(template.render(value_json=sent)) == value
    assert template.render(value_json={"time": "", "values": {}}) == "None"


@given(st.lists(st.tuples(names, st.none() | names), min_size=1, max_size=5))
def test_any_names_and_units_make_a_valid_payload(series):
    components = payload_of(meter_with(*series))["components"]
    assert len({sensor["unique_id"] for sensor in components.values()}) == len(set(series))


def test_a_measurement_that_is_gone_is_removed_and_then_left_out():
    before = discovery_payload(meter_with(("voltage", "V"), ("current", "A")), TOPICS, "1", as_json=False)
    after = discovery_payload(meter_with(("voltage", "V"), ("power", "W")), TOPICS, "1", as_json=False)
    removing, final = update_messages(before, after)
    validator().validate(json.loads(removing))
    assert json.loads(removing)["components"]["current"] == {"platform": "sensor"}
    assert final == after
    assert json.loads(final)["components"].keys() == {"voltage", "power"}


@pytest.mark.parametrize("before", [b"", b"no JSON", b"[]", b'{"components": 5}', b"{}"])
def test_what_another_program_left_under_the_topic_is_replaced(before):
    after = discovery_payload(meter_with(("voltage", "V")), TOPICS, "1", as_json=False)
    assert list(update_messages(before, after)) == [after]


def test_a_meter_without_measurements_has_no_discovery():
    assert discovery_payload(replace(meter_with(), levels={}), TOPICS, "1", as_json=False) == b""


def test_a_unit_that_home_assistant_does_not_know_for_a_class_gives_no_class():
    assert quantity_of("voltage", "volts").device_class is None
    assert quantity_of("apparentPower", "kVA").device_class is None


@pytest.mark.parametrize(
    "change",
    [{"unit_of_measurement": "W"}, {"state_class": "total"}, {"state_topic": "emm/#"}, {"unique_id": ""}, {"extra": 1}],
)
def test_the_schema_refuses_what_home_assistant_refuses(change):
    payload = payload_of(meter_with(("voltage", "V")))
    payload["components"]["voltage"] |= change
    assert not validator().is_valid(payload)


def test_a_sensor_without_a_new_value_becomes_unavailable():
    """A value that cannot be read any more is not published, while the meter stays available."""
    payload = json.loads(
        discovery_payload(meter_with(("voltage", "V")), TOPICS, "1", as_json=False, expires_after_s=240)
    )
    validator().validate(payload)
    assert payload["components"]["voltage"]["expire_after"] == 240
