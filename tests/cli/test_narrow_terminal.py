"""Output on a terminal of 80 columns: nothing breaks inside a word or a time; times are those of TZ. (F14, F21)"""

import json
import re
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.catalogue_devices import SITUATIONS, device
from support.meters import SimulatedUnit, encode_registers, holding

from emm_pipeline.catalog import load_catalogue
from emm_pipeline.cli.showing import tables
from emm_pipeline.cli.showing.tables import print_table
from emm_pipeline.cli.wrapping import wrapped

CATALOGUE = load_catalogue()
SDM630 = CATALOGUE["sdm630"].meter_type
STYLES = re.compile(r"\x1b\[[0-9;]*m")
TERMINAL = {"TTY_COMPATIBLE": "1", "COLUMNS": "80", "NO_COLOR": "1"}
WIDTH = 80


def lines_of(output):
    return STYLES.sub("", output).splitlines()


words = st.text("abcdefgh_.:0123456789", min_size=1, max_size=20)
sentences = st.lists(words, min_size=1, max_size=12).map(" ".join)
rows_of_a_table = st.lists(st.tuples(words, sentences, words, sentences), min_size=1, max_size=5)


@settings(max_examples=60, deadline=None)
@given(rows=rows_of_a_table)
def test_a_table_fits_the_terminal_and_keeps_every_word_whole(rows):
    with pytest.MonkeyPatch.context() as patch:
        shown = []
        patch.setattr(tables, "say", shown.append)
        patch.setattr(tables, "PIPED_WIDTH", WIDTH)
        print_table(("id", "what", "type", "why"), rows, below=("why", "type"))
    lines = "\n".join(shown).splitlines()
    assert max(map(len, lines)) <= WIDTH
    printed = set(" ".join(lines).replace(";", " ").split())
    assert {word for row in rows for cell in row for word in cell.split()} <= printed


@given(sentence=sentences, width=st.integers(30, 120))
def test_a_wrapped_sentence_keeps_its_words_and_times(sentence, width):
    text = f"{sentence} since 2026-11-27 03:12:10 CET and {sentence}"
    lines = wrapped(text, width).split("\n")
    assert " ".join(" ".join(lines).split()) == text
    assert any("2026-11-27 03:12:10 CET" in line for line in lines)
    assert max(map(len, lines)) <= width


def test_a_command_that_is_to_be_copied_stays_on_one_line():
    command = f"  .venv/bin/emm meters add 192.168.1.113 --unit 1 --type sdm630 --description '{'x' * 60}'"
    assert wrapped(command, WIDTH) == command


@pytest.fixture
def fleet(emm, config_engine, simulated_gateway):
    """Three meters with long descriptions, two of them dead, and a reading of the first."""
    gateway = simulated_gateway({1: SimulatedUnit(encode_registers(SDM630, {"voltageL1": 231.4}))})
    assert emm("types", "install", "sdm630").returncode == 0
    with config_engine.begin() as connection:
        for unit in (1, 2, 3):
            connection.exec_driver_sql(
                "INSERT INTO energy_meters (id, host, port, slave_address, type, description)"
                f" VALUES ({unit}, '{gateway.host}', {gateway.port}, {unit}, 'sdm630',"
                f" 'main distribution of hall number {unit}')"
            )
        connection.exec_driver_sql(
            "INSERT INTO meter_status (id, last_read_at)"
            " VALUES (1, '2026-01-15 11:00:00+00'), (2, '2026-01-15 11:00+00')"
        )
    return gateway


@pytest.mark.parametrize(
    "words",
    [
        ["meters", "list"],
        ["meters", "check"],
        ["meters", "check", "1"],
        ["poll", "--dry-run"],
        ["status"],
        ["energy"],
        ["watch", "--count", "1"],
        ["types", "list"],
        ["types", "show", "sdm630"],
        ["types", "diff", "sdm630"],
        ["registers", "export", "--help"],
    ],
    ids=" ".join,
)
def test_no_line_is_wider_than_the_terminal(emm, fleet, words):
    done = emm(*words, **TERMINAL)
    too_long = [line for line in lines_of(done.stdout) if len(line) > WIDTH and not line.startswith("  emm ")]
    assert not too_long


def test_no_line_of_a_scan_is_wider_than_the_terminal(emm, simulated_gateway):
    """With types that contradict each other, one that is slow, one that answers to several unit ids."""
    names = {2: "heidelberg_energy_control", 3: "sdm120", 4: "victron_gx", 6: "sdm120"}
    units = {unit: device(CATALOGUE[name], SITUATIONS[0], swap_words=unit == 2) for unit, name in names.items()}
    gateway = simulated_gateway(
        {unit: SimulatedUnit(dict(held)) for unit, held in units.items()}
        | {1: SimulatedUnit(lambda code, address: 7), 5: SimulatedUnit(holding(0, [7]), delay_s=1.0)}
    )
    place = f"{gateway.host}:{gateway.port}"
    done = emm("scan", place, "--units", "1-6", "--pause", 0, "--timeout", 0.5, **TERMINAL)
    too_long = [line for line in lines_of(done.stdout) if len(line) > WIDTH and not line.startswith("  emm ")]
    assert "6 of 6 units answer" in done.stdout
    assert not too_long


def test_the_list_of_meters_keeps_names_addresses_and_times_whole(emm, fleet):
    printed = lines_of(emm("meters", "list", **TERMINAL).stdout)
    assert any(f"{fleet.host}:{fleet.port}" in line for line in printed)
    assert any("2026-01-15 11:00:00" in line for line in printed)
    assert any("main distribution of hall" in line for line in printed)


def test_an_issue_of_several_meters_is_printed_once(emm, fleet):
    printed = emm("poll", "--dry-run").stdout
    (line,) = [line for line in printed.splitlines() if line.startswith("failed: ")]
    assert "meter 2 (main distribution of hall number 2), meter 3 (main distribution of hall number 3): " in line
    assert "exception 11" in line


def test_people_see_the_time_of_their_zone_and_programs_utc(emm, fleet):
    printed = emm("meters", "list", TZ="Asia/Tokyo").stdout
    assert "last reading (Asia/Tokyo)" in printed
    assert "2026-01-15 20:00:00" in printed
    listed = json.loads(emm("meters", "list", "--json", TZ="Asia/Tokyo").stdout)
    assert listed[0]["last_read_at"] == "2026-01-15T11:00:00+00:00"
    polled = json.loads(emm("poll", "1", "--dry-run", "--json", TZ="Asia/Tokyo").stdout)
    assert datetime.fromisoformat(polled["readings"][0]["time"]).utcoffset() == datetime.now(UTC).utcoffset()
    assert "time (Asia/Tokyo)" in emm("poll", "1", "--dry-run", TZ="Asia/Tokyo").stdout
    assert " JST" in emm("status", TZ="Asia/Tokyo").stdout.splitlines()[0]
