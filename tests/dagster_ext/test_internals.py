"""The private names of Dagster that EMM uses. After an upgrade of Dagster this test fails and says what to do."""

import inspect
import re
from importlib import import_module

import dagster
import pytest
from dagster._core.storage.event_log.schema import SqlEventLogStorageMetadata
from dagster._core.storage.runs.schema import RunStorageSqlMetadata
from dagster._core.storage.schedules.schema import ScheduleStorageSqlMetadata

from emm_pipeline.dagster_ext import internals
from emm_pipeline.dagster_ext.checked_names import CHECKED_AGAINST as CHECKED

TABLES = [name for name in CHECKED if name.startswith("table ")]
NAMES = [name for name in CHECKED if name not in TABLES]


def test_every_private_name_was_checked_against_the_installed_dagster():
    other = {version for version in CHECKED.values() if version != dagster.__version__}
    assert not other, (
        f"Dagster {dagster.__version__} is installed, EMM's internals were checked against {', '.join(sorted(other))}: "
        "check each name in dagster_ext/checked_names.py, and write down the new version"
    )


@pytest.mark.parametrize("name", NAMES)
def test_dagster_still_has(name):
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        break
    for attribute in parts[end:]:
        assert hasattr(found, attribute) or attribute in attributes_set_by(found), f"{found} has no {attribute}"
        found = getattr(found, attribute, None)


def attributes_set_by(cls: type) -> set[str]:
    """Return the attributes that the methods of a class and of its bases set on `self`."""
    sources = [inspect.getsource(base) for base in cls.__mro__ if base.__module__.startswith("dagster")]
    return set(re.findall(r"self\.(\w+)(?:: [^=\n]+)? =", "\n".join(sources)))


@pytest.mark.parametrize("name", TABLES)
def test_dagsters_database_still_has(name):
    table, columns = re.fullmatch(r"table (\w+)\((.*)\)", name).groups()
    parts = (SqlEventLogStorageMetadata, RunStorageSqlMetadata, ScheduleStorageSqlMetadata)
    tables = {name: table for part in parts for name, table in part.tables.items()}
    assert set(columns.split(", ")) <= {column.name for column in tables[table].columns}


def test_every_private_name_that_is_imported_has_its_version():
    source = inspect.getsource(internals)
    imported = set()
    for module, names in re.findall(r"^ *from (dagster[\w.]*) import (\([^)]*\)|[\w, ]*)", source, re.MULTILINE):
        if "._" in module:
            imported |= {f"{module}.{name}" for name in re.findall(r"\w+", names)}
    assert imported
    assert imported <= set(CHECKED)


def test_every_private_attribute_that_is_used_has_its_version():
    packages = {"_core", "_grpc", "_serdes", "_cli", "_daemon", "_scheduler", "_utils"}
    used = set(re.findall(r"(?:\.|def )(_[a-z]\w+)", inspect.getsource(internals))) - packages
    assert used == {name.rpartition(".")[2] for name in NAMES if re.search(r"\._\w+$", name)}
