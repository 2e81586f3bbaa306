"""Output on a terminal of 80 columns: nothing breaks inside a word or a time; times are those of TZ. (F14, F21)"""

import io
import json
import re
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.progress import Progress
from support.catalogue_devices import SITUATIONS, device
from support.frames import NOON, points, reading, readings
from support.meters import SimulatedUnit, encode_registers, holding

from emm_pipeline.catalog import load_catalogue
from emm_pipeline.cli.progress import columns_of
from emm_pipeline.cli.showing import tables
from emm_pipeline.cli.showing.tables import print_table
from emm_pipeline.cli.wrapping import wrapped
from emm_pipeline.stores.base import RejectedPoints
from emm_pipeline.stores.outbox.folder import Outbox

CATALOGUE = load_catalogue()
SDM630 = CATALOGUE["sdm630"].meter_type
STYLES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
"""Styles, and what a progress line sends to replace itself."""
TERMINAL = {"TTY_COMPATIBLE": "1", "COLUMNS": "80", "NO_COLOR": "1"}
TO_BE_COPIED = re.compile(r"  (emm|docker|INSERT|\S*python[\d.]*|\w+,\d+,\w+,) ?")
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


@given(sentence=sentences, width=st.integers(50, 120))
def test_a_command_in_a_sentence_is_not_broken(sentence, width):
    command = "emm registers accept-absent 1 powerFactorL3"
    lines = wrapped(f"{sentence}: {command} (the others likewise); {sentence}", width).split("\n")
    assert any(command in line for line in lines)
    assert max(map(len, lines)) <= width


@given(what=sentences, total=st.none() | st.integers(1, 99_999), remaining=st.booleans())
def test_a_progress_line_is_never_cut(what, total, remaining):
    """F21: the times were, and read `0:00:05 left, about 0:00:01`."""
    console = Console(width=WIDTH, force_terminal=True, no_color=True, file=io.StringIO())
    columns, fits = columns_of(what, total, WIDTH, remaining=remaining)
    bar = Progress(*columns, console=console)
    bar.update(bar.add_task(what, total=total), completed=(total or 1) - 1)
    console.print(bar.get_renderable())
    (line,) = lines_of(console.file.getvalue())
    assert "…" not in line
    assert not total or f"{(total or 1) - 1}/{total} 0:00:0" in line.replace("  ", " ")
    assert not (remaining and total) or re.search(r"0:00:0\d so far, (-:--:--|\d:\d\d:\d\d) left", line)
    assert not fits or line.startswith(what)


def is_too_wide(line):
    """Whether a line is wider than the terminal, but neither a command to be copied nor a single word."""
    return len(line) > WIDTH and not TO_BE_COPIED.match(line) and " " in line.strip()


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
    assert not list(filter(is_too_wide, lines_of(done.stdout)))


LONG = "main-distribution-board-of-hall-3-behind-the-second-transformer"
OTHERS = [
    ["backup", "FOLDER/backup.zip"],
    ["combined", "export"],
    ["combined", "import", "FOLDER/none.csv"],
    ["db", "check"],
    ["db", "upgrade"],
    ["export", "--from", "2026-01-15"],
    ["meters", "add", "127.0.0.1:PORT", "--unit", "1", "--type", "sdm630", "--description", LONG, "--force"],
    ["meters", "add", "127.0.0.1:PORT", "--unit", "2", "--type", "sdm72d", "--disabled", "--yes", "--no-test"],
    ["meters", "add", "127.0.0.1:PORT", "--unit", "9", "--type", "sdm6300"],
    ["meters", "disable", "2"],
    ["meters", "edit", "3", "--description", LONG],
    ["meters", "enable", "2"],
    ["meters", "export"],
    ["meters", "import", "FOLDER/meters.csv"],
    ["meters", "remove", "3", "--yes"],
    ["meters", "check", "--host", "127.0.0.1:PORT", "--unit", "1", "--type", "sdm630"],
    ["mqtt", "status"],
    ["outbox"],
    ["outbox", "show", "BATCH"],
    ["outbox", "replay"],
    ["outbox", "replay", "--rejected"],
    ["poll"],
    ["read", "127.0.0.1:PORT", "--unit", "1", "--fc", "4", "--address", "0", "--count", "2"],
    ["read", "127.0.0.1:PORT", "--unit", "1", "--fc", "4", "--address", "0", "--count", "2", "--expect", "231.4"],
    ["registers", "accept-absent", "1"],
    ["registers", "accept-absent", "1", "voltageL9"],
    ["registers", "export", "-o", "FOLDER/registers.csv"],
    ["registers", "import", "FOLDER/registers.csv"],
    ["restore", "FOLDER/backup.zip"],
    ["secrets", "create", "--folder", "FOLDER/secrets"],
    ["service", "status"],
    ["settings"],
    ["settings", "check"],
    ["types", "install", "sungrow_sh", "sdm630"],
    ["types", "set", "sdm630", "max_gap=0", "timeout_s=2"],
    ["types", "set", "sdm630", "no_such=0"],
    ["virtual", "new", "FOLDER/my_virtual_device"],
    ["web", "accounts", "add", "anna"],
    ["web", "accounts", "list"],
    ["web", "accounts", "remove", "anna"],
]
"""Every other command that ends by itself and prints for people, in an order in which they can follow each other."""


def test_no_line_of_any_other_command_is_wider_than_the_terminal(emm, fleet, tmp_path):
    """Neither of its output nor of its messages."""
    folder = tmp_path / "folder with a long name, as those of temporary files and of users of a domain are"
    folder.mkdir()
    outbox = Outbox(folder / "outbox", 10**9)
    rows = points(readings(reading(), reading(id=2)))
    with outbox.put(rows, NOON, "run") as batch:
        batch.settle([RejectedPoints(rows[:1], "partial write: points beyond retention policy dropped=1")])
    outbox.put(rows, NOON, "later").close()
    outbox.note_error("InfluxDB at http://influxdb.example.internal:8086 does not answer: connection refused")
    texts = {"FOLDER": str(folder), "PORT": str(fleet.port), "BATCH": outbox.waiting()[0].name}
    too_wide = {}
    for words in OTHERS:
        arguments = list(words)
        for name, text in texts.items():
            arguments = [word.replace(name, text) for word in arguments]
        done = emm(*arguments, **TERMINAL, OUTBOX_DIR=str(outbox.folder), HOME=str(folder))
        assert "Traceback" not in done.stderr, done.stderr
        if lines := list(filter(is_too_wide, [*lines_of(done.stdout), *lines_of(done.stderr)])):
            too_wide[" ".join(words)] = lines
    assert too_wide == {}


def test_the_folder_of_the_outbox_is_on_one_line(emm, tmp_path):
    folder = tmp_path / ("deep/" * 12) / "outbox"
    printed = emm("outbox", **TERMINAL, OUTBOX_DIR=str(folder)).stdout
    assert str(folder) in [line.strip() for line in printed.splitlines()]


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
    assert "6 of 6 units answer" in done.stdout
    assert not list(filter(is_too_wide, lines_of(done.stdout)))


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
