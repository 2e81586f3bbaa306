"""`emm scan` with what it does for a whole gateway: types that are not certain, `--add` and `--save`."""

import json

import pytest
from support.catalogue_devices import SITUATIONS, device
from support.meters import SimulatedUnit, holding

from emm_pipeline.catalog import load_catalogue

CATALOGUE = load_catalogue()
LOAD = SITUATIONS[0]


def unit_of(name, *, zeros=False, **swap):
    held = device(CATALOGUE[name], LOAD, **swap)
    return SimulatedUnit((lambda code, address: held.get((code, address)) or 0) if zeros else dict(held))


def place(gateway):
    return f"{gateway.host}:{gateway.port}"


def meters_of(emm):
    return [(each["slave_address"], each["type"]) for each in json.loads(emm("meters", "list", "--json").stdout)]


@pytest.fixture
def cabinet(simulated_gateway):
    """An SDM630, one with swapped words, and a unit that is in no catalogue."""
    return simulated_gateway(
        {
            1: unit_of("sdm630"),
            4: unit_of("sdm630", zeros=True, swap_words=True),
            9: SimulatedUnit(holding(0, [7])),
        }
    )


def test_scan_add_installs_types_and_adds_meters_whose_values_are_right(emm, cabinet):
    """F1 and F15: from a gateway to readings with one command, also for swapped words."""
    added = emm("scan", "--pause", 0, place(cabinet), "--units", "1-10", "--add", "--yes")
    assert added.returncode == 0, added.stderr
    assert "added 2 meters: first reading within two minutes" in added.stdout
    assert "pac2200" not in added.stdout
    assert meters_of(emm) == [(1, "sdm630"), (4, "sdm630_swapped_words")]
    readings = json.loads(emm("poll", "--dry-run", "--json").stdout)["readings"]
    held = {(each["id"], each["measurement"]): each["value"] for each in readings}
    for id_ in (1, 2):
        assert held[id_, "voltageL1"] == pytest.approx(231.4)
        assert held[id_, "activePowerL3"] == pytest.approx(LOAD.value("activePowerL3"), rel=1e-6)
    again = emm("scan", "--pause", 0, place(cabinet), "--units", "1-10", "--add", "--yes")
    assert "nothing to add" in again.stdout
    assert len(meters_of(emm)) == 2


def test_scan_add_asks_first(emm, cabinet):
    refused = emm("scan", "--pause", 0, place(cabinet), "--units", "1", "--add")
    assert refused.returncode == 2
    assert "add --yes" in refused.stderr
    assert cabinet.requests == 0, "it says so before the scan"
    assert meters_of(emm) == []


def test_scan_add_needs_a_database_and_says_so_before_the_scan(emm_alone, cabinet):
    refused = emm_alone("scan", "--pause", 0, place(cabinet), "--units", "1", "--add", "--yes")
    assert refused.returncode == 2
    assert "--add needs the configuration database" in refused.stderr
    assert cabinet.requests == 0


def test_the_printed_commands_for_swapped_words_work(emm, cabinet):
    printed = emm("scan", "--pause", 0, place(cabinet), "--units", "4").stdout
    lines = [line.split()[1:] for line in printed.splitlines() if line.startswith("  emm ")]
    assert lines[0] == ["types", "install", "sdm630_swapped_words"]
    for line in lines:
        assert emm(*line).returncode == 0
    assert meters_of(emm) == [(4, "sdm630_swapped_words")]


@pytest.mark.parametrize("ending", ["csv", "yaml"])
def test_a_saved_scan_can_be_imported(emm, cabinet, tmp_path, ending):
    file = tmp_path / f"meters.{ending}"
    saved = emm("scan", "--pause", 0, place(cabinet), "--units", "1-10", "--save", file)
    assert saved.returncode == 0, saved.stderr
    assert "unit 9: enter its type" in file.read_text()
    whole = emm("meters", "import", file, "--yes")
    assert whole.returncode == 2
    assert "type" in whole.stderr
    assert meters_of(emm) == [], "nothing is written while a line is wrong"
    imported = emm("meters", "import", file, "--yes", "--skip-errors")
    assert imported.returncode == 0, imported.stderr
    assert "2 added, 0 changed, 0 unchanged, 1 skipped; written" in imported.stdout
    assert meters_of(emm) == [(1, "sdm630"), (4, "sdm630_swapped_words")]


def test_a_scan_cannot_be_saved_into_a_folder_that_does_not_exist(emm_alone, cabinet, tmp_path):
    refused = emm_alone("scan", "--pause", 0, place(cabinet), "--save", tmp_path / "none" / "meters.csv")
    assert refused.returncode == 2
    assert "there is no folder" in refused.stderr
    assert cabinet.requests == 0


def test_types_that_contradict_each_other_are_shown_with_what_tells_them_apart(emm_alone, simulated_gateway):
    """A charger whose only value of two words is a counter: nothing shows the order of its words."""
    gateway = simulated_gateway({1: unit_of("heidelberg_energy_control", swap_words=True)})
    printed = emm_alone("scan", "--pause", 0, place(gateway), "--units", "1").stdout
    assert "Unit 1 may be of 2 types. These values tell them apart on its display:" in printed
    (row,) = [line.split() for line in printed.splitlines() if line.startswith("totalActiveEnergy")]
    assert row[1] != row[2]
    assert row[3] == "kWh"
    assert "emm meters add" not in printed
    assert f"emm meters check --host {place(gateway)} --unit 1 --type heidelberg_energy_control" in printed


def test_scan_says_how_sure_it_is(emm_alone, simulated_gateway):
    units = {1: unit_of("sdm630"), 2: unit_of("abb_b23_b24"), 3: unit_of("victron_gx")}
    printed = emm_alone("scan", "--pause", 0, place(simulated_gateway(units)), "--units", "1-3").stdout
    rows = {line.split()[0]: line for line in printed.splitlines() if line[:4].strip().isdigit()}
    count = len(CATALOGUE["sdm630"].registers)
    assert f"likely, {count} of {count} registers fit" in rows["1"]
    assert "proven by its id" in rows["2"]
    assert "perhaps" in rows["3"]
    assert "Unit 3 is perhaps of type victron_gx. Compare with its display or manual:" in printed
    assert "--unit 3 --type" not in printed.partition("To see all values")[0]


def test_a_slow_unit_is_shown_with_what_to_do(emm_alone, simulated_gateway):
    """F4: unit 3 is dead, unit 6 is slow; each is given less time than unit 6 takes."""
    slow = SimulatedUnit(holding(0, [7]), delay_s=1.2)
    gateway = simulated_gateway({6: slow, 1: SimulatedUnit(holding(0, [7])), 3: SimulatedUnit(silent=True)})
    printed = emm_alone("scan", "--pause", 0, place(gateway), "--units", "1,3,6", "--timeout", 0.5).stdout
    assert "2 of 3 units answer" in printed
    assert "Unit 6 is slow: its reply took 1.2 s. To identify it, scan it alone: --units 6 --timeout 2" in printed
    assert "1 unit sent nothing within 0.5 s" in printed
