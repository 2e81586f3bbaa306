"""The database of commit 6e50f05 and of each revision since is upgraded; a failed migration leaves the old state."""

import re
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text

from emm_pipeline.config_db import upgrade as upgrade_module
from emm_pipeline.config_db.loader import load_fleet
from emm_pipeline.config_db.upgrade import _alembic, check, upgrade
from emm_pipeline.errors import ConfigDatabaseError
from emm_pipeline.stores.postgresql.tables import metadata

DUMP = Path(__file__).with_name("6e50f05.sql")
RENAMED = dict(
    re.findall(
        r"ALTER TABLE (\w+) RENAME TO (\w+)",
        "ALTER TABLE troubles RENAME TO alerts; ALTER TABLE mail_lines RENAME TO alert_lines",
    )
)


def select(engine: Engine, query: str) -> list[tuple]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def tables(engine: Engine) -> dict[str, list[tuple]]:
    """Return the rows of each table with the columns that it has now."""
    names = select(engine, "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
    return {name: select(engine, f'SELECT * FROM "{name}" ORDER BY 1, 2') for (name,) in names if "alembic" not in name}


def columns(engine: Engine, table: str) -> list[str]:
    query = f"SELECT column_name FROM information_schema.columns WHERE table_name = '{table}' ORDER BY ordinal_position"
    return [name for (name,) in select(engine, query)]


@pytest.fixture
def old(empty_database: Engine) -> Engine:
    """The database of commit 6e50f05."""
    with empty_database.begin() as connection:
        connection.exec_driver_sql(DUMP.read_text().replace("%", "%%"))
    return empty_database


def test_every_row_of_6e50f05_is_kept_and_the_tables_are_those_of_a_new_database(old):
    before = {name: (columns(old, name), rows) for name, rows in tables(old).items()}
    assert len(before) == 11
    assert all(rows for _, rows in before.values()), "each table has rows"
    upgrade(old)
    assert check(old, metadata.sorted_tables).up_to_date
    for name, (names, rows) in before.items():
        now = RENAMED.get(name, name)
        kept = ['"raised"' if each == "begun" else f'"{each}"' for each in names]
        present = [each.strip('"') for each in kept]
        assert set(present) <= set(columns(old, now)), now
        assert select(old, f'SELECT {", ".join(kept)} FROM "{now}" ORDER BY 1, 2') == rows, now


def test_the_meters_of_6e50f05_are_read_as_before(old):
    def fleet():
        found = load_fleet(old)
        return [(meter.id, meter.host, meter.port, meter.unit_id, meter.type) for meter in found.meters], found.issues

    before = fleet()
    upgrade(old)
    assert fleet() == before
    assert [meter[0] for meter in before[0]] == [0, 1]


def revisions() -> list[str]:
    folder = Path(upgrade_module.__file__).with_name("migrations")
    return [script.revision for script in ScriptDirectory(str(folder)).walk_revisions()][::-1]


@pytest.mark.parametrize("revision", revisions())
def test_a_database_of_each_revision_keeps_its_rows(bare_database, revision):
    with bare_database.begin() as connection:
        command.upgrade(_alembic(connection), revision)
        connection.exec_driver_sql("INSERT INTO energy_meters VALUES (1, 'h', 502, 1, 'virtual_modbustcp', 'x')")
    before = select(bare_database, "SELECT id, host, port, slave_address, type, description FROM energy_meters")
    upgrade(bare_database)
    assert check(bare_database, metadata.sorted_tables).up_to_date
    after = select(bare_database, "SELECT id, host, port, slave_address, type, description FROM energy_meters")
    assert sorted(after) == sorted(before)
    assert [meter.id for meter in load_fleet(bare_database).meters] == [0, 1]


def test_a_migration_that_fails_at_the_end_leaves_the_database_of_6e50f05_as_it_was(old, monkeypatch):
    before = tables(old), {name: columns(old, name) for name in tables(old)}

    def fail(connection):
        connection.exec_driver_sql("SELECT 1 / 0")

    monkeypatch.setattr(upgrade_module, "repair", fail)
    with pytest.raises(ConfigDatabaseError, match="division by zero"):
        upgrade(old)
    assert (tables(old), {name: columns(old, name) for name in tables(old)}) == before
    assert select(old, "SELECT * FROM emm_alembic_version") == [("0008",)]
    monkeypatch.undo()
    upgrade(old)
    assert check(old, metadata.sorted_tables).up_to_date
