"""`emm scan` with what it does for a whole gateway: types that are not certain, `--add` and `--save`."""

import json

import pytest
from support.catalogue_devices import SITUATIONS, device
from support.meters import SimulatedUnit, encode_registers, holding

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
    assert added.returncode == 1, "a unit is left out"
    assert added.stderr.splitlines()[-1] == "unit 9 is not added: it is not in the catalogue"
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
    assert f"  emm scan {place(gateway)} --units 6 --timeout 3" in printed
    assert f"emm read {place(gateway)} --unit 6" not in printed, "it was not compared, so its type may be known"


def test_a_slow_unit_is_saved_as_one_that_was_not_compared(emm_alone, simulated_gateway, tmp_path):
    gateway = simulated_gateway({6: SimulatedUnit(holding(0, [7]), delay_s=1.2), 1: SimulatedUnit(holding(0, [7]))})
    file = tmp_path / "meters.csv"
    emm_alone("scan", "--pause", 0, place(gateway), "--units", "1,6", "--timeout", 0.5, "--save", file)
    assert "unit 6: enter its type; possible: not compared with the catalogue" in file.read_text()
    assert "unit 1: enter its type; possible: none of the catalogue" in file.read_text()


def test_a_device_that_answers_to_any_unit_id_is_offered_saved_and_added_once(emm, simulated_gateway, tmp_path):
    gateway = simulated_gateway(dict.fromkeys(range(256), unit_of("sdm630")))
    file = tmp_path / "meters.csv"
    printed = emm("scan", "--pause", 0, place(gateway), "--units", "1-30", "--save", file).stdout
    assert "30 of 30 units answer" in printed
    assert "The device of unit 1 answers to other unit ids, too, with the same counters: 2-30." in printed
    assert printed.count("emm meters add") == 1
    assert "emm read" not in printed
    assert len([line for line in file.read_text().splitlines() if not line.startswith("#")]) == 2
    assert emm("scan", "--pause", 0, place(gateway), "--units", "1-30", "--add", "--yes").returncode == 0
    assert meters_of(emm) == [(1, "sdm630")]
    units = json.loads(emm("scan", "--pause", 0, place(gateway), "--units", "1-3", "--json").stdout)["units"]
    assert [(each["same_as"], each["add"]) for each in units] == [(None, None), (1, None), (1, None)]


def test_types_that_give_the_same_values_are_all_shown_and_the_label_tells_them_apart(emm_alone, simulated_gateway):
    printed = emm_alone("scan", place(simulated_gateway({1: unit_of("sdm120")})), "--units", "1", "--pause", 0).stdout
    assert "or sdm230" in printed
    told = "Unit 1: sdm120, sdm220 and sdm230 fit equally well, with the same values. The label on the device says "
    assert f"{told}which type it is.\n" in printed
    lines = [line for line in printed.splitlines() if line.startswith("  emm ")]
    assert [line.split()[-1] for line in lines] == ["sdm120", "sdm220", "sdm230"]


@pytest.fixture
def idle(simulated_gateway):
    """An SDM630 without load that sends 0 for registers that it lacks: all other values are 0, as in an SDM72DM."""
    values = {"voltageL1": 231.4, "voltageL2": 230.4, "voltageL3": 232.4, "frequency": 50.0}
    held = encode_registers(CATALOGUE["sdm630"].meter_type, values)
    return simulated_gateway(
        {1: SimulatedUnit(lambda code, address: held.get((code, address), 0)), 2: unit_of("sdm630")}
    )


def test_scan_says_which_values_would_tell_types_apart_that_fit_equally_well(emm_alone, idle):
    printed = emm_alone("scan", place(idle), "--units", "1", "--pause", 0).stdout
    rows = [line.split() for line in printed.splitlines() if "registers fit" in line]
    assert [row[3] for row in rows[:1]] + [row[1] for row in rows[1:]] == ["sdm630", "sdm72dm_v2"]
    assert all("likely," in row for row in rows)
    assert "Unit 1: sdm630 and sdm72dm_v2 fit equally well, with the same values." in printed
    assert "Only sdm630 has currentMean, current and " in printed
    assert "all of them are 0 now. Scan again while current flows: if one is not 0 then, it is sdm630." in printed


def test_scan_add_does_not_choose_among_types_that_fit_equally_well(emm, idle, tmp_path):
    """The other unit is added. The printed command adds this one, with the type that a person has read on it."""
    file = tmp_path / "meters.csv"
    done = emm("scan", place(idle), "--units", "1,2", "--pause", 0, "--add", "--yes", "--save", file)
    assert done.returncode == 1
    assert "unit 1 is not added: sdm630, sdm72dm_v2 fit equally well. Use the line with the type on its" in done.stderr
    assert meters_of(emm) == [(2, "sdm630")]
    assert "unit 1: enter its type; possible: sdm630, sdm72dm_v2" in file.read_text()
    printed = [line.split() for line in done.stderr.splitlines() if line.startswith("  emm ")]
    added = [words[1:] for words in printed if words[-1] == "sdm72dm_v2"]
    assert emm(*added[0], "--yes").returncode == 0
    assert meters_of(emm) == [(2, "sdm630"), (1, "sdm72dm_v2")]
    units = json.loads(emm("scan", place(idle), "--units", "1,2", "--pause", 0, "--json").stdout)["units"]
    assert [(each["equal_types"], each["add"]) for each in units] == [(["sdm630", "sdm72dm_v2"], None), ([], None)]


def test_the_printed_commands_keep_the_timeout_and_the_pause_of_the_scan(emm, simulated_gateway):
    """The unit replies after 2 s, and its gateway needs a pause after connecting."""
    held = dict(device(CATALOGUE["heidelberg_energy_control"], LOAD))
    gateway = simulated_gateway({1: SimulatedUnit(held, delay_s=0.0), 2: unit_of("sdm630")})
    arguments = ("--pause", 0, "--connect-pause", 0.2)
    printed = emm("scan", place(gateway), "--units", "1,2", *arguments).stdout
    assert "  emm types set sdm630 connect_pause_s=0.2" in printed
    assert "--type heidelberg_energy_control --connect-pause 0.2" in printed
    lines = [line.split()[1:] for line in printed.splitlines() if line.startswith("  emm ") and "check" not in line]
    assert [emm(*line).returncode for line in lines] == [0] * 3
    added = emm("scan", place(gateway), "--units", "2", *arguments)
    assert "types set" not in added.stdout
