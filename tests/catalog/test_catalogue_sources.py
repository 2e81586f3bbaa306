"""Every row of the catalogue is agreed by two independent public sources, whose facts are in tools/catalogue/facts."""

from dataclasses import replace

import pytest

from emm_pipeline.catalog import KINDS, load_catalogue
from emm_pipeline.registers import DataType, Order
from tools.catalogue.comparing import compare
from tools.catalogue.coverage import load_templates, missing_headlines
from tools.catalogue.facts import load_devices, load_facts, load_sources

CATALOGUE = load_catalogue()

OWN_TYPES = {"zeversolar"}
"""Types of this project's own servers: no other project has their registers."""


@pytest.mark.parametrize("name", [name for name in CATALOGUE if name not in OWN_TYPES])
def test_two_independent_sources_agree_with_each_row(name):
    rows = compare(CATALOGUE[name], load_devices()[name])
    assert len(rows) == len(CATALOGUE[name].registers)
    disputed = [f"{row.register.register_address} {row.register.measurement_name}" for row in rows if not row.is_agreed]
    assert not disputed, f"see: python -m tools.catalogue check {name}"


def test_no_source_whose_directions_are_known_counts_a_power_in_the_other_direction():
    """Two devices with one register but opposite signs, as the Fox ESS H3 Smart and Avocado, are two types."""
    disputed = {
        (name, row.register.measurement_name, fact.device)
        for name in CATALOGUE
        for row in compare(CATALOGUE[name], load_devices().get(name, ()))
        for fact, reason in row.differing
        if "other direction" in reason
    }
    assert not disputed


NOT_DC_INPUTS = {
    ("deye_hybrid_3p", 667): "the generator's port, to which a microinverter can be connected",
    ("sofar_hybrid", 533): "the sum itself, in coarser steps",
    ("solax_string", 1038): "power on the AC side",
}
"""By type and address: what evcc reads as power of the PV, but is no DC input."""


def test_dc_power_is_the_sum_of_all_inputs_that_evcc_adds():
    missing = {}
    for name, entry in CATALOGUE.items():
        sums = [each for each in entry.meter_type.combined if each.measurement_name == "dcPower"]
        added = {part.measurement_name for each in sums for part in each.parts}
        for device in load_devices().get(name, ()) if sums else ():
            facts = load_facts(device.project)[device.device] if device.project == "evcc" else ()
            inputs = {fact.address for fact in facts if fact.quantity == "pv power"}
            read = {each.register_address for each in entry.registers if each.measurement_name in added}
            missing |= {(name, address): device.device for address in inputs - read}
    assert set(missing) == set(NOT_DC_INPUTS)


def is_agreed(name, measurement, **changes):
    """Return whether two sources agree with a row after these changes."""
    entry = CATALOGUE[name]
    (register,) = [each for each in entry.registers if each.measurement_name == measurement]
    edited = replace(entry.meter_type, registers=(replace(register, **changes),))
    (row,) = compare(replace(entry, meter_type=edited), load_devices()[name])
    return row.is_agreed


@pytest.mark.parametrize(
    ("name", "measurement", "changes"),
    [
        ("sdm630", "voltageL1", {"register_address": 1}),
        ("sdm630", "voltageL1", {"data_type": DataType.LONG}),
        ("sdm630", "voltageL1", {"scale": 0.1}),
        ("sdm630", "voltageL1", {"word_order": Order.LITTLE_ENDIAN}),
        ("sdm630", "voltageL1", {"measurement_name": "voltageL2"}),
        ("sdm630", "voltageL1", {"measurement_name": "currentL1", "data_unit": "A"}),
        ("sdm630", "importActiveEnergy", {"measurement_name": "exportActiveEnergy"}),
        ("huawei_sun2000", "activePower", {"data_type": DataType.UINT32}),
        ("sunspec_203", "activePower", {"scale_register": 15}),
        ("solax_hybrid", "batteryPower", {"measurement_name": "gridPower"}),
        ("sofar_g3", "batterySoc", {"measurement_name": "batterySoh"}),
        ("solis_hybrid", "loadPower", {"measurement_name": "backupPower"}),
        ("huawei_luna2000", "batteryChargedEnergy", {"measurement_name": "batteryDischargedEnergy"}),
        ("huawei_luna2000", "batteryDischargedEnergy", {"measurement_name": "batteryChargedEnergy"}),
        ("growatt_sph", "batteryChargePower", {"measurement_name": "batteryDischargePower"}),
        ("growatt_sph", "gridImportPower", {"measurement_name": "gridExportPower"}),
        ("huawei_meter", "currentL1", {"scale": 0.01}),
        ("huawei_meter", "activePower", {"scale": 1.0}),
        ("solax_hybrid", "batteryTemperature", {"data_type": DataType.UINT16}),
        ("goodwe_et", "dcVoltage1", {"invalid_value": 1234}),
        ("sma_shm20", "importActivePower", {"invalid_value": None}),
        ("huawei_emma", "generatedEnergy", {"invalid_value": None}),
        ("solis_hybrid", "gridPower", {"invalid_values": ()}),
    ],
)
def test_an_edit_that_contradicts_its_sources_is_noticed(name, measurement, changes):
    assert is_agreed(name, measurement)
    assert not is_agreed(name, measurement, **changes)


OPPOSITES = [("import", "export"), ("Import", "Export"), ("batteryCharge", "batteryDischarge")]

WITHOUT_DIRECTION = {("huawei_meter", "importActiveEnergy")}  # two sources call it "accumulated" and "reverse"
"""Rows whose direction is not in the words of two sources: a wrong edit of their name would not be noticed."""


def test_no_row_can_be_renamed_to_the_opposite_direction():
    accepted = {
        (name, register.measurement_name)
        for name, entry in CATALOGUE.items()
        for register in entry.registers
        for opposite in opposites(register.measurement_name)
        if is_agreed(name, register.measurement_name, measurement_name=opposite)
    }
    assert accepted == WITHOUT_DIRECTION


def opposites(name):
    for one, other in [*OPPOSITES, *(pair[::-1] for pair in OPPOSITES)]:
        if one in name:
            yield name.replace(one, other)


def test_each_source_names_a_repository_and_the_commit_that_was_read():
    for project, source in load_sources().items():
        assert "/" in source.repository
        assert len(source.commit) == 40, project


MAKERS_DOCUMENTS = {"vendor_documents", "wattnode_document"}
"""A maker's own documents, which are independent of the project whose repository has a copy of them."""


def test_all_facts_of_one_repository_are_one_source_except_makers_documents():
    groups = {}
    for project, source in load_sources().items():
        if project not in MAKERS_DOCUMENTS:
            groups.setdefault(source.repository, set()).add(source.group)
    assert {repository: some for repository, some in groups.items() if len(some) > 1} == {}


def test_the_types_whose_second_source_is_generated_from_the_first_are_those_that_the_document_names():
    """OpenEMS generates its table of models from SunSpec's definitions: one standard, and one implementation of it."""
    generated = {
        (name, register.measurement_name if name in INVERTER_MODELS else "all but the labels")
        for name in CATALOGUE
        for row in compare(CATALOGUE[name], load_devices().get(name, ()))
        for register in [row.register]
        if row.groups == {"sunspec_models", "openems"}
    }
    named = {(f"sunspec_{model}", "all but the labels") for model in (701, 713, 714, 802)}
    assert generated == named | {(name, "temperature") for name in INVERTER_MODELS}


INVERTER_MODELS = [f"sunspec_{model}" for model in (101, 102, 103, 111, 112, 113)]


def test_a_type_of_mbmd_and_the_project_that_it_was_copied_from_are_one_source():
    assert load_sources()["mbmd"].group == load_sources()["solaredge_meterproxy"].group


def test_each_device_that_a_type_refers_to_has_facts():
    for name, devices in load_devices().items():
        assert name in CATALOGUE
        for device in devices:
            assert load_facts(device.project).get(device.device), device


def test_devices_of_other_projects_are_read_by_a_type_or_listed_with_a_reason():
    templates = load_templates()
    for each in templates:
        assert set(each.types) <= set(CATALOGUE), each
        assert each.types or each.reason, each
    evcc = [each for each in templates if each.project == "evcc"]
    assert sum(each.is_covered for each in evcc) >= 0.45 * len(evcc)


def test_a_device_whose_power_or_state_of_charge_is_not_read_does_not_count_as_covered():
    evcc = [each for each in load_templates() if each.project == "evcc" and each.types]
    missing = {each.name: missing_headlines(each, CATALOGUE) for each in evcc}
    assert missing["sofarsolar"] == ["battery power", "grid power"]
    assert {each.name for each in evcc if each.is_covered and missing[each.name]} == set()


def test_the_catalogue_has_a_hundred_types_of_every_kind():
    assert len(CATALOGUE) >= 100
    assert {entry.kind for entry in CATALOGUE.values()} == set(KINDS)
