"""Properties of every file of the catalogue."""

import csv
import re
from itertools import combinations
from pathlib import Path

import pytest

import emm_pipeline.catalog
from emm_pipeline.catalog import load_catalogue
from emm_pipeline.catalog.vocabulary import VOCABULARY
from emm_pipeline.modbus.planning import plan_requests

CATALOGUE = load_catalogue()
FOLDER = Path(emm_pipeline.catalog.__file__).parent

each_type = pytest.mark.parametrize("entry", CATALOGUE.values(), ids=CATALOGUE)


def test_every_file_is_in_the_catalogue():
    assert set(CATALOGUE) == {path.stem for path in FOLDER.glob("*.csv")}
    assert len(CATALOGUE) >= 15


@each_type
def test_a_type_says_what_it_is_and_names_two_sources(entry):
    assert entry.title
    assert entry.vendor
    assert entry.document
    projects = {source.split(",")[0] for source in entry.sources}
    assert len(projects) >= 2, "sources of one project are not independent"


@each_type
def test_every_row_of_the_file_is_a_register(entry):
    text = (FOLDER / f"{entry.name}.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))
    assert {row["measurement_name"] for row in rows} == {register.measurement_name for register in entry.registers}
    assert len(rows) == len(entry.registers) == len({row["measurement_name"] for row in rows})


@each_type
def test_measurements_have_the_names_and_units_of_the_vocabulary(entry):
    for register in entry.registers:
        assert register.data_unit == VOCABULARY[register.measurement_name].unit, register


def test_each_quantity_of_the_vocabulary_is_used_by_a_type_at_least_for_one_phase_or_input():
    used = {name for entry in CATALOGUE.values() for name in measurements(entry)}
    assert used <= set(VOCABULARY)
    assert {without_number(name) for name in used} == {without_number(name) for name in VOCABULARY}


def measurements(entry):
    combined = {each.measurement_name for each in entry.meter_type.combined}
    return combined | {register.measurement_name for register in entry.registers if register.stored}


def without_number(name):
    return re.sub(r"(L\d|\d)+$", "", name)


@each_type
def test_registers_do_not_overlap(entry):
    for one, other in combinations(entry.registers, 2):
        if (one.function_code, one.model) == (other.function_code, other.model):
            assert one.end <= other.register_address or other.end <= one.register_address, (one, other)


@each_type
def test_a_type_can_be_read_in_requests_within_its_limits(entry):
    requests = plan_requests(entry.meter_type)
    assert all(request.count <= entry.meter_type.max_registers_per_request for request in requests)
    for register in entry.meter_type.measured:
        assert any(request.covers(register) for request in requests), register


@each_type
def test_identifications_ask_for_possible_values(entry):
    for identification in entry.identifications:
        assert identification.register.end <= 65536
        assert identification.matches(identification.low)
        assert identification.matches(identification.high)
        assert not identification.matches(identification.high + 1)


def test_no_type_answers_to_the_strong_identification_of_another():
    strong = [
        (entry.name, line.register, line.low, line.high)
        for entry in CATALOGUE.values()
        for line in entry.identifications
        if line.strong and not entry.name.startswith("sunspec_")  # distinguished by their models
    ]
    for (name, register, low, high), (other_name, other_register, other_low, other_high) in combinations(strong, 2):
        if register == other_register:
            assert high < other_low or other_high < low, (name, other_name)


@pytest.mark.parametrize("model", [101, 102, 103, 111, 112, 113])
def test_a_sunspec_type_lies_within_its_model_and_scales_its_integers(model):
    entry = CATALOGUE[f"sunspec_{model}"]
    length = 52 if model < 110 else 62  # with the header; sunspec/models has 50 and 60 without
    values = {register.register_address + i for register in entry.meter_type.measured for i in range(register.count)}
    assert min(values) >= 2
    assert max(values) < length
    assert [register.model for register in entry.meter_type.labels] == [1] * 4
    for register in entry.meter_type.measured:
        assert register.model == model
        is_scaled = model < 110 and register.measurement_name != "operatingState"
        assert (register.scale_register is not None) is is_scaled
        assert register.scale_register not in values
        assert register.scale_register is None or 2 <= register.scale_register < length
