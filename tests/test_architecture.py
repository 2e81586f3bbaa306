"""The house: floors, edges, and what must stay out of where. docs/architecture.md explains why."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "emm_pipeline"
MODULES = sorted(PACKAGE.rglob("*.py"))

PURE = [
    "emm_pipeline.alerts.rules",
    "emm_pipeline.catalog",
    "emm_pipeline.cron",
    "emm_pipeline.credentials",
    "emm_pipeline.errors",
    "emm_pipeline.fleet",
    "emm_pipeline.naming",
    "emm_pipeline.readings",
    "emm_pipeline.catalog.identifying",
    "emm_pipeline.catalog.vocabulary",
    "emm_pipeline.commissioning.identification",
    "emm_pipeline.commissioning.interpreting",
    "emm_pipeline.commissioning.searching",
    "emm_pipeline.config_db.validation",
    "emm_pipeline.modbus.decoding",
    "emm_pipeline.modbus.exception_codes",
    "emm_pipeline.modbus.data_frame",
    "emm_pipeline.modbus.messages",
    "emm_pipeline.modbus.planning",
    "emm_pipeline.modbus.splitting",
    "emm_pipeline.modbus.sunspec.models",
    "emm_pipeline.modbus.transport.base",
    "emm_pipeline.modbus.values",
    "emm_pipeline.polling.backoff",
    "emm_pipeline.polling.plan",
    "emm_pipeline.polling.results",
    "emm_pipeline.polling.sharding",
    "emm_pipeline.polling.timing",
    "emm_pipeline.stores.delivery",
    "emm_pipeline.stores.influxdb.line_protocol",
    "emm_pipeline.stores.outbox.folder",
    "emm_pipeline.stores.outbox.format_1",
    "emm_pipeline.stores.outbox.format_2",
    "emm_pipeline.stores.outbox.rejected",
    "emm_pipeline.stores.points",
    "emm_pipeline.stores.shaping",
    "emm_pipeline.stores.texts",
]

FLOORS = [
    {"errors", "fleet", "readings", "naming", "cron", "credentials", "event_loop"},
    {"settings", "modbus", "config_db", "stores", "catalog"},
    {"opening", "polling", "commissioning", "alerts", "dagster_ext"},
    {"defs"},
    {"definitions", "cli", "embedded_postgres"},
]
"""From the ground up. Imports go down only; above the first floor no package knows another of its floor."""

NEIGHBOURS = {
    ("catalog", "config_db"),  # a catalogue file is checked like the rows that it becomes
    ("dagster_ext", "opening"),
    ("cli", "definitions"),
    ("cli", "embedded_postgres"),  # the demo
}
"""Exceptions within a floor."""


def room(module: str) -> str:
    """The first name below the package: a module of the top folder, or a package."""
    return module.split(".")[1]


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> set[str]:
    """Every module that a file imports, at any place in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def floor_of(name: str) -> int:
    return next(level for level, rooms in enumerate(FLOORS) if name in rooms)


@pytest.mark.parametrize("path", [path for path in MODULES if path != PACKAGE / "__init__.py"], ids=module_name)
def test_imports_go_down_only(path):
    here = room(module_name(path))
    for name in imports(path):
        if not name.startswith("emm_pipeline.") or room(name) == here:
            continue
        there = room(name)
        lower = floor_of(there) < floor_of(here)
        assert lower or (here, there) in NEIGHBOURS or floor_of(here) == floor_of(there) == 0, (here, name)


def test_the_document_shows_every_room_on_its_floor():
    text = (PACKAGE.parent / "docs" / "architecture.md").read_text()
    rows = dict(re.findall(r"^\| (\d) \| (.+?) \|", text, re.MULTILINE))
    shown = [set(re.findall(r"`(\w+)(?:/|\.py)?`", rows[str(level)])) for level in range(len(rows))]
    assert shown == FLOORS


@pytest.mark.parametrize(
    ("library", "homes"),
    [
        ("pymodbus", {"modbus/transport/"}),
        ("influxdb_client", {"stores/influxdb/"}),
        ("dagster", {"definitions.py", "defs/", "dagster_ext/"}),
        ("dagster_celery", {"dagster_ext/celery_"}),
        ("celery", {"dagster_ext/celery_"}),
        ("redis", {"dagster_ext/celery_launcher.py"}),
        ("click", {"cli/"}),
        ("smtplib", {"alerts/mail.py"}),
    ],
)
def test_a_library_has_one_home(library, homes):
    for path in MODULES:
        uses = any(name.split(".")[0] == library for name in imports(path))
        inside = any(str(path.relative_to(PACKAGE)).startswith(home) for home in homes)
        assert not uses or inside, f"{path} imports {library}, which belongs into {homes}"


def test_the_environment_is_read_in_the_settings_only():
    for path in MODULES:
        if "cli" in path.parts:  # the demo hands the environment on to the processes that it starts
            continue
        text = path.read_text()
        reads = "os.environ" in text or "getenv" in text
        assert not reads or path.name == "settings.py", path


@pytest.mark.parametrize("module", PURE)
def test_a_pure_module_needs_no_server_library(module):
    block = "import sys; sys.modules.update(dict.fromkeys(['dagster', 'pymodbus', 'sqlalchemy', 'influxdb_client']));"
    subprocess.run([sys.executable, "-c", f"{block} import {module}"], check=True)


def test_what_the_daemon_and_every_run_import_is_light():
    code = "import emm_pipeline.definitions, sys; print({'pandas', 'influxdb_client'} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert loaded.strip() == "set()"


def test_a_transport_is_known_to_its_own_modules_to_the_chooser_and_to_the_configuration():
    """So that a new one changes three files: its own, the chooser, and `TransportKind` in fleet.py."""
    transports = {module_name(path) for path in MODULES if path.parent == PACKAGE / "modbus" / "transport"}
    shared = {f"emm_pipeline.modbus.transport{name}" for name in ("", ".base", ".choosing", ".pacing")}
    for path in MODULES:
        here = module_name(path)
        if here not in transports:
            known = (transports - shared) & imports(path)
            assert not known, f"{here} imports {known}: ask emm_pipeline.modbus.transport.choosing for a transport"
            if not here.startswith(("emm_pipeline.fleet", "emm_pipeline.config_db.")):
                assert "TransportKind" not in path.read_text(), f"{here} must not tell transports apart"


def test_modules_stay_small_enough_to_read():
    long = {module_name(path): lines for path in MODULES if (lines := len(path.read_text().splitlines())) > 260}
    assert not long
