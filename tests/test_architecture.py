"""The architecture: floors, circles, private names of Dagster, pure modules. docs/architecture.md explains why."""

import ast
import inspect
import json
import re
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "emm_pipeline"
MODULES = sorted(PACKAGE.rglob("*.py"))

NEED_NO_SERVER_LIBRARY = [
    "emm_pipeline.catalog",
    "emm_pipeline.credentials",
    "emm_pipeline.errors",
    "emm_pipeline.fleet",
    "emm_pipeline.readings",
    "emm_pipeline.registers",
    "emm_pipeline.commissioning.identification",
    "emm_pipeline.commissioning.fitting",
    "emm_pipeline.commissioning.interpreting",
    "emm_pipeline.commissioning.searching",
    "emm_pipeline.stores.delivery",
    "emm_pipeline.stores.outbox.folder",
]
"""Besides the modules that call themselves pure."""

FLOORS = [
    {
        *("errors", "fleet", "registers", "readings", "naming", "cron", "credentials", "env_files", "event_loop"),
        *("status", "plausibility", "failing"),
        *("postgres_errors", "reloading", "mqtt_settings", "alert_settings", "backup_settings", "suggesting"),
        *("web_settings", "command_names", "runnable", "allocator"),
    },
    {"settings", "modbus", "config_db", "stores", "catalog", "http_access"},
    {
        *("access", "opening", "polling", "commissioning", "alerts", "mqtt", "energy", "dagster_ext"),
        *("condition", "service"),
    },
    {"defs", "backup"},
    {"definitions", "preload", "celery_app", "cli", "embedded_postgres", "web"},
]
"""From the ground up. Imports go down only; above the first floor no package knows another of its floor."""

NEIGHBOURS = {
    ("catalog", "config_db"),  # a catalogue file is checked like the rows that it becomes
    ("dagster_ext", "opening"),
    ("condition", "opening"),
    ("condition", "polling"),  # whether the clock can be right
    ("condition", "mqtt"),  # the publisher's state
    ("preload", "definitions"),
    ("preload", "cli"),  # what the code server is started as
    ("celery_app", "preload"),
    ("celery_app", "cli"),  # a chore is a command
    ("cli", "definitions"),
    ("cli", "preload"),
    ("cli", "embedded_postgres"),  # the demo
    ("cli", "web"),  # `emm web`
}
"""Exceptions within a floor."""


def room(module: str) -> str:
    """The first name below the package: a module of the top folder, or a package."""
    return module.split(".")[1]


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {module_name(path) for path in MODULES}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def imports(path: Path) -> frozenset[str]:
    """Every name that a file imports, at any place in it, and the modules of EMM that its texts name."""
    names: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names | named_in_texts(path))


def named_in_texts(path: Path) -> set[str]:
    """Modules of EMM that are named in texts: of import_module, of `python -c`, of a fork server. Not in docstrings."""
    package = module_name(path) if path.name == "__init__.py" else module_name(path).rpartition(".")[0]
    nodes = list(ast.walk(tree(path)))
    docstrings = {
        id(node.body[0].value)
        for node in nodes
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and isinstance(node.body[0] if node.body else None, ast.Expr)
    }
    texts = [
        node.value
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
    ]
    texts += [ast.unparse(node).replace("{__package__}", package) for node in nodes if isinstance(node, ast.JoinedStr)]
    words = {word for text in texts for word in re.findall(r"\bemm_pipeline(?:\.\w+)+", text)}
    return {named for word in words if (named := longest_module(word))}


def longest_module(name: str) -> str | None:
    """The module that a dotted name is, or is in."""
    while name not in NAMES and "." in name:
        name = name.rpartition(".")[0]
    return name if "." in name else None


def floor_of(name: str) -> int:
    return next(level for level, rooms in enumerate(FLOORS) if name in rooms)


def may_import(here: str, there: str) -> bool:
    """Whether a module below one name of the package may import from another."""
    lower = floor_of(there) < floor_of(here)
    return lower or here == there or (here, there) in NEIGHBOURS or floor_of(here) == floor_of(there) == 0


def test_imports_go_down_only():
    wrong = [
        f"{module_name(path)} imports {name}"
        for path in MODULES
        if path != PACKAGE / "__init__.py"
        for name in sorted(imports(path))
        if name.startswith("emm_pipeline.") and not may_import(room(module_name(path)), room(name))
    ]
    assert not wrong


def test_no_import_is_circular():
    graph = {
        module_name(path): {found for name in imports(path) if (found := longest_module(name))} - {module_name(path)}
        for path in MODULES
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as err:
        pytest.fail(f"a circle: {' -> '.join(err.args[1])}")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('importlib.import_module("emm_pipeline.definitions")', {"emm_pipeline.definitions"}),
        ('import_module(f"{__package__}.settings")', {"emm_pipeline.settings"}),
        ('code = "from emm_pipeline.defs.prune import prune_job; prune_job()"', {"emm_pipeline.defs.prune"}),
        ('["python", "-m", "emm_pipeline.cli.secrets"]', {"emm_pipeline.cli.secrets"}),
        ('"""Like emm_pipeline.cli."""', set()),
    ],
)
def test_an_import_by_name_is_detected(text, named, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "tree", lambda _: ast.parse(text))
    assert named_in_texts(PACKAGE / "naming.py") == named


@pytest.mark.parametrize("name", ["dagster.yaml", "docker/stack.yml", "docker/worker.yml", "docs/celery.md"])
def test_the_modules_that_a_configuration_names_exist(name):
    named = set(re.findall(r"\bemm_pipeline(?:\.\w+)+", (PACKAGE.parent / name).read_text()))
    assert named
    assert named <= NAMES


def test_the_document_shows_every_package_at_its_level():
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
        ("dagster_postgres", {"dagster_ext/"}),
        ("dagster_celery", {"dagster_ext/celery_"}),
        ("celery", {"dagster_ext/celery_"}),
        ("redis", {"dagster_ext/celery_launcher.py"}),
        ("click", {"cli/"}),
        ("smtplib", {"alerts/mail.py"}),
        ("paho", {"mqtt/connection.py"}),
        ("argon2", {"web/security/accounts.py"}),
        ("jinja2", {"web/rendering.py"}),
        ("prometheus_client", {"web/api/metrics.py"}),
        ("starlette", {"web/", "dagster_ext/webserver.py"}),
    ],
)
def test_each_library_is_imported_by_one_package(library, homes):
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


IMPORT_EACH = """
import importlib, json, sys
sys.modules.update(dict.fromkeys(["dagster", "pymodbus", "sqlalchemy", "influxdb_client"]))
failed = {}
for name in json.loads(sys.argv[1]):
    try:
        importlib.import_module(name)
    except ImportError as err:
        failed[name] = str(err)
print(json.dumps(failed))
"""


def is_pure(path: Path) -> bool:
    """Whether a module says of itself that it is pure."""
    return re.search(r"\(pure\)|\bPure\b", ast.get_docstring(tree(path)) or "") is not None


def test_pure_modules_need_no_server_library():
    pure = {module_name(path) for path in MODULES if is_pure(path)}
    names = json.dumps(sorted({*pure, *NEED_NO_SERVER_LIBRARY}))
    done = subprocess.run([sys.executable, "-c", IMPORT_EACH, names], check=True, capture_output=True, text=True)
    assert json.loads(done.stdout) == {}


INTERNALS = PACKAGE / "dagster_ext" / "internals.py"


def with_dagster() -> list[Path]:
    """Return the modules that import Dagster, except the one that imports its private names."""
    return [p for p in MODULES if p != INTERNALS and any(name.startswith("dagster") for name in imports(p))]


def test_private_modules_of_dagster_are_imported_in_one_place():
    private = re.compile(r"dagster\w*\.(\w+\.)*_")
    wrong = [f"{path}: {name}" for path in MODULES for name in imports(path) if private.match(name)]
    assert not [each for each in wrong if not each.startswith(str(INTERNALS))], (
        "import them from dagster_ext/internals.py"
    )


def test_private_attributes_of_others_are_not_used():
    used = [
        f"{path}: {owner}.{node.attr}"
        for path in with_dagster()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and is_private(node.attr)
        if (owner := ast.unparse(node.value)) not in {"self", "cls"}
    ]
    assert not used, "put a function into dagster_ext/internals.py"


def test_a_class_that_extends_one_of_dagsters_neither_uses_nor_replaces_its_private_attributes():
    wrong = []
    for name in map(module_name, with_dagster()):
        for cls in vars(import_module(name)).values():
            if not isinstance(cls, type) or cls.__module__ != name:
                continue
            of_dagster = {name for base in cls.__mro__ if is_dagsters(base) for name in private_names(base)}
            used = set(re.findall(r"(?:\bself\.|\bcls\.|super\(\)\.|def )(_[a-z]\w+)", inspect.getsource(cls)))
            wrong += [f"{name}.{cls.__name__}: {each}" for each in sorted(used & of_dagster)]
    assert not wrong, "put a mixin into dagster_ext/internals.py"


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def is_dagsters(cls: type) -> bool:
    return cls.__module__.split(".")[0] in {"dagster", "dagster_postgres", "dagster_celery", "dagster_shared"}


def private_names(cls: type) -> set[str]:
    """Return the private names that a class defines, and those that its methods set on `self`."""
    try:
        source = inspect.getsource(cls)
    except OSError:  # made at run time
        source = ""
    return {name for name in vars(cls) if is_private(name)} | set(
        re.findall(r"\bself\.(_[a-z]\w+)(?:: [^=\n]+)? = ", source)
    )


def test_a_private_attribute_of_a_base_of_dagsters_is_seen():
    from dagster import DefaultRunLauncher

    assert {"_run_ids", "_get_grpc_client_for_termination"} <= private_names(DefaultRunLauncher)


def test_the_modules_that_the_daemon_and_every_run_import_need_no_heavy_library():
    code = "import emm_pipeline.definitions, sys; print({'pandas', 'influxdb_client'} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert loaded.strip() == "set()"


def test_a_transport_is_known_to_its_own_modules_to_the_chooser_and_to_the_configuration():
    """So that a new one changes three files: its own, the chooser, and `TransportKind` in fleet.py."""
    transports = {module_name(path) for path in MODULES if path.parent == PACKAGE / "modbus" / "transport"}
    shared = {
        f"emm_pipeline.modbus.transport{name}"
        for name in ("", ".base", ".choosing", ".lateness", ".memory", ".pacing", ".requests", ".resolving")
    }
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
