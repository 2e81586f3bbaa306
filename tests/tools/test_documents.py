"""The documents name what is there, and all of it."""

import re
from pathlib import Path

import click
import pytest

from emm_pipeline.cli.main import emm
from emm_pipeline.config_db.tables import energy_meters, metadata, meter_types, registers
from emm_pipeline.settings import ENV_FILES, Settings
from emm_pipeline.stores.postgresql import tables as readings_tables
from tools.documentation.blocks import blocks_of, with_blocks
from tools.documentation.parts import ROOT, command_table, module_map, results_table

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("virtual_modbustcp_server/*.md")])
FOLDERS = (
    *("emm_pipeline", "tests", "config", "docs", "docker", "benchmarks", "virtual_modbustcp_server"),
    *("dashboards", "tools", r"\.ci"),
)
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
def test_every_link_has_a_target(path):
    for link in LINK.findall(CODE.sub("", path.read_text())):
        if link.startswith(("http:", "https:", "mailto:")):
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


@pytest.mark.parametrize("path", DOCUMENTS, ids=IDS)
def test_every_named_file_command_and_target_exists(path):
    text = path.read_text()
    for name in re.findall(rf"`((?:{'|'.join(FOLDERS)})/[\w./-]+)`", text):
        assert (ROOT / name).exists() or name in NOT_IN_GIT, name
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for target in re.findall(r"(?:`|^    )make ([a-z-]+)", text, re.MULTILINE):
        assert target in targets, f"make {target}"
    assert [call for call in CALL.findall(text) if unknown_part(call)] == []


CALL = re.compile(
    r"(?:`|^(?: *|\$ ))(?:docker-compose exec(?: -T)? code )?(?:\.venv/bin/)?emm ([^`#|\n]+)", re.MULTILINE
)
"""A call of the command line: between backticks, or a line of a block."""


def unknown_part(call: str) -> str:
    """Return the first word that is no command or option of ours, or nothing."""
    command: click.Command = emm
    for word in call.split():
        if word.startswith("--"):
            options = {
                option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
            }
            if word.partition("=")[0] not in options | {"--help"}:
                return word
        elif isinstance(command, click.Group) and re.fullmatch(r"[a-z-]+", word):
            found = command.get_command(click.Context(command), word)
            if found is None:
                return word
            command = found
    return ""


@pytest.mark.parametrize(
    ("call", "unknown"),
    [
        ("meters add 10.0.0.1 --unit 1 --type sdm630", ""),
        ("meters ad 10.0.0.1", "ad"),
        ("scan 10.0.0.1 --unit 1-10", "--unit"),
        ("COMMAND --help", ""),
    ],
)
def test_a_command_or_option_that_is_not_there_is_noticed(call, unknown):
    assert unknown_part(call) == unknown


def test_calls_are_found_in_text_and_in_blocks():
    text = "`emm outbox`, `.venv/bin/emm poll 1`\n\n    emm scan a      # which\n\n```text\n$ emm db check\n```\n"
    text += "    docker-compose exec code emm meters list\n"
    assert [call.strip() for call in CALL.findall(text)] == ["outbox", "poll 1", "scan a", "db check", "meters list"]


@pytest.mark.parametrize("path", DOCUMENTS, ids=IDS)
def test_every_test_that_a_document_names_is_there(path):
    tests = "\n".join(file.read_text() for file in (ROOT / "tests").rglob("test_*.py"))
    for name in re.findall(r"`(test_\w+)`", path.read_text()):
        if name not in {"test_measurement", "test_energy_meter"}:
            assert f"def {name}(" in tests, name


MADE = [("modules", module_map), ("commands", command_table), ("results", results_table)]


@pytest.mark.parametrize(("name", "made"), MADE)
def test_generated_parts_agree_with_the_code(name, made):
    (block,) = [blocks_of(path.read_text())[name] for path in DOCUMENTS if name in blocks_of(path.read_text())]
    assert block == made(), "make docs"


def test_the_output_of_the_demo_is_shown_as_it_is():
    (block,) = [blocks_of(path.read_text())["demo"] for path in DOCUMENTS if "demo" in blocks_of(path.read_text())]
    assert re.search(r"^0 +test_energy_meter +test_measurement +\d+ +test_u +\d{4}-", block, re.MULTILINE)


def test_other_blocks_are_not_changed():
    text = "<!-- made: a -->\nold\n<!-- end -->\n<!-- made: b -->\nkept\n<!-- end -->\n"
    assert (
        with_blocks(text, {"a": "new"})
        == "<!-- made: a -->\n\nnew\n\n<!-- end -->\n<!-- made: b -->\nkept\n<!-- end -->\n"
    )


def documented() -> dict[str, str]:
    rows = ROW.findall(CONFIGURATION)
    return {name: default for names, default in rows for name in re.findall(r"[A-Z_0-9]+", names)}


def examples() -> dict[str, str]:
    """The variables of config/.env.dev, and those for which docker/stack.yml has a default."""
    stack = re.findall(r"(?<!\$)\$\{([A-Z_0-9]+):-([^}]*)\}", (ROOT / "docker" / "stack.yml").read_text())
    return dict(stack) | dict(re.findall(r"^(?:# )?([A-Z_0-9]+)=(.*)$", ENV_FILES[0].read_text(), re.MULTILINE))


def test_the_documented_variables_are_exactly_the_existing_ones():
    assert set(documented()) == {name.upper() for name in Settings.model_fields} | set(examples())


def test_the_example_settings_are_the_documented_defaults():
    shown = {name: default for name, default in documented().items() if default}
    assert {name: value for name, value in examples().items() if name in shown} == {
        name: default for name, default in shown.items() if name in examples()
    }


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_the_packages_that_the_tests_need_are_those_that_ci_installs(name):
    script = (ROOT / ".ci" / "run").read_text().replace("\\\n", " ")
    installed = " ".join(re.findall(r"apt-get .*install ([^|\n]+)", script)).split()
    named = re.search(r"`apt-get install ([^`]+)`", (ROOT / name).read_text())
    options = {word for word in installed if word.startswith("-")}
    assert set(named[1].split()) == set(installed) - options - {"make", "python3-venv"}


def test_the_documented_defaults_are_right():
    for name, field in Settings.model_fields.items():
        default = documented()[name.upper()]
        if isinstance(field.default, str | int) and not isinstance(field.default, bool) and field.default != "":
            assert default == str(field.default), name


@pytest.mark.parametrize("table", [energy_meters, registers, meter_types], ids=str)
def test_every_column_that_people_write_is_documented_in_its_order(table):
    section = CONFIGURATION.partition(f"### `{table.name}`")[2].partition("\n#")[0]
    assert re.findall(r"^\| `(\w+)`", section, re.MULTILINE) == [column.name for column in table.columns]


def test_every_table_is_named():
    assert all(f"`{name}`" in CONFIGURATION for name in (*metadata.tables, *readings_tables.metadata.tables))
