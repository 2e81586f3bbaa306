"""The documents name what is there, and all of it."""

import re
from pathlib import Path

import pytest

from documentation.blocks import blocks_of, with_blocks
from documentation.parts import ROOT, command_table, commands, module_map, results_table
from emm_pipeline.cli.main import emm
from emm_pipeline.config_db.tables import energy_meters, metadata, meter_types, registers
from emm_pipeline.settings import ENV_FILES, Settings

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("virtual_modbustcp_server/*.md")])
FOLDERS = ("emm_pipeline", "tests", "config", "docs", "docker", "benchmarks", "virtual_modbustcp_server")
NOT_IN_GIT = {"config/.env"}
IDS = [str(path.relative_to(ROOT)) for path in DOCUMENTS]
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text()
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
CODE = re.compile(r"(?s:```.*?```)|^    .*$", re.MULTILINE)
ROW = re.compile(r"^\| ((?:`[A-Z_0-9]+`(?:, )?)+) \| (?:`(.+?)`)? ?\|", re.MULTILINE)


def anchors(path: Path) -> set[str]:
    """The anchors that a forge makes of headings."""
    headings = HEADING.findall(CODE.sub("", path.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=IDS)
def test_every_link_leads_somewhere(path):
    for link in LINK.findall(CODE.sub("", path.read_text())):
        if link.startswith(("http:", "https:", "mailto:")):
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


@pytest.mark.parametrize("path", DOCUMENTS, ids=IDS)
def test_every_file_command_and_target_that_is_named_is_there(path):
    text = path.read_text()
    for name in re.findall(rf"`((?:{'|'.join(FOLDERS)})/[\w./-]+)`", text):
        assert (ROOT / name).exists() or name in NOT_IN_GIT, name
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for target in re.findall(r"(?:`|^    )make ([a-z-]+)", text, re.MULTILINE):
        assert target in targets, f"make {target}"
    words = {command[0] for command, _ in commands(emm)}
    for word in re.findall(r"`(?:\.venv/bin/)?emm ([a-z]+)", text):
        assert word in words, f"emm {word}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=IDS)
def test_every_test_that_a_document_names_is_there(path):
    tests = "\n".join(file.read_text() for file in (ROOT / "tests").rglob("test_*.py"))
    for name in re.findall(r"`(test_\w+)`", path.read_text()):
        if name not in {"test_measurement", "test_energy_meter"}:
            assert f"def {name}(" in tests, name


MADE = [("modules", module_map), ("commands", command_table), ("results", results_table)]


@pytest.mark.parametrize(("name", "made"), MADE)
def test_what_is_made_from_the_code_is_in_step(name, made):
    (block,) = [blocks_of(path.read_text())[name] for path in DOCUMENTS if name in blocks_of(path.read_text())]
    assert block == made(), "make docs"


def test_the_output_of_the_demo_is_shown_as_it_is():
    (block,) = [blocks_of(path.read_text())["demo"] for path in DOCUMENTS if "demo" in blocks_of(path.read_text())]
    assert re.search(r"^0 +test_energy_meter +test_measurement +\d+ +test_u +\d{4}-", block, re.MULTILINE)


def test_blocks_that_are_not_made_here_are_left_alone():
    text = "<!-- made: a -->\nold\n<!-- end -->\n<!-- made: b -->\nkept\n<!-- end -->\n"
    assert (
        with_blocks(text, {"a": "new"})
        == "<!-- made: a -->\n\nnew\n\n<!-- end -->\n<!-- made: b -->\nkept\n<!-- end -->\n"
    )


def documented() -> dict[str, str]:
    rows = ROW.findall(CONFIGURATION)
    return {name: default for names, default in rows for name in re.findall(r"[A-Z_0-9]+", names)}


def test_every_variable_is_documented_and_none_is_invented():
    example = set(re.findall(r"^#? ?([A-Z_0-9]+)=", ENV_FILES[0].read_text(), re.MULTILINE))
    known = {name.upper() for name in Settings.model_fields} | example
    assert set(documented()) == known


def test_defaults_are_documented_as_they_are():
    for name, field in Settings.model_fields.items():
        default = documented()[name.upper()]
        if isinstance(field.default, str | int) and not isinstance(field.default, bool) and field.default != "":
            assert default == str(field.default), name


@pytest.mark.parametrize("table", [energy_meters, registers, meter_types], ids=str)
def test_every_column_that_people_write_is_documented_in_its_order(table):
    section = CONFIGURATION.partition(f"### `{table.name}`")[2].partition("\n#")[0]
    assert re.findall(r"^\| `(\w+)`", section, re.MULTILINE) == [column.name for column in table.columns]


def test_every_table_is_named():
    assert all(f"`{name}`" in CONFIGURATION for name in metadata.tables)
