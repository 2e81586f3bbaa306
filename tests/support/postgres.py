"""A real PostgreSQL for the tests: one server per session, a fresh database per test.

Servers begin with a copy of a cluster that is made once per run, with upgraded databases to copy.
"""

import itertools
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import URL, Engine, create_engine
from support.shared import made_once

from emm_pipeline.cli.commands.database import upgrade_databases
from emm_pipeline.config_db.engine import create_config_engine
from emm_pipeline.embedded_postgres import EmbeddedPostgres
from emm_pipeline.settings import Settings

TEMPLATE = "emm_template"
"""The name of an upgraded database without rows; with the suffix `_dagster`, that of Dagster's own database."""
INIT_SQL = (Path(__file__).parents[2] / "config" / "postgres_init.sql").read_text()

_numbers = itertools.count(1)


@contextmanager
def postgres_folder() -> Iterator[Path]:
    """A folder that PostgreSQL's own user can enter; it cannot enter pytest's folders if root runs pytest."""
    folder = Path(tempfile.mkdtemp(prefix="emm-test-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _make_cluster(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir, durable=False) as server:
        variables = connection_settings(server, TEMPLATE)
        settings = Settings(_env_file=None, **{each.lower(): value for each, value in variables.items()})  # type: ignore[call-arg,arg-type]
        upgrade_databases(settings, lambda _: None)


def copy_cluster(data_dir: Path) -> None:
    """Make the data folder of a server that has the databases of TEMPLATE."""
    made = made_once("data", _make_cluster)
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", made, data_dir], check=True)


def create_database(server: EmbeddedPostgres, template: str = "template1") -> URL:
    """Create a database as a copy of `template`, and return its URL."""
    name = f"test_{next(_numbers)}"
    administrate(server, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    return server.url(name)


def administrate(server: EmbeddedPostgres, statement: str) -> None:
    """Execute one statement as superuser, outside of any transaction."""
    engine = create_engine(server.url(), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()


def connection_settings(postgres: EmbeddedPostgres, database: str) -> dict[str, str]:
    """Return the variables with which EMM uses a database of this server."""
    return {
        "POSTGRES_HOST": str(postgres.socket_dir),
        "POSTGRES_PORT": "5432",
        "POSTGRES_USER": "postgres",
        "POSTGRES_DB": database,
    }


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """The session's server. A test that stops it must start it again."""
    with postgres_folder() as folder:
        copy_cluster(folder / "data")
        with EmbeddedPostgres(folder / "data", durable=False) as server:
            yield server
            server.kill()  # its data are not needed any more, so a checkpoint would waste time


@pytest.fixture(scope="session")
def migrated_template() -> str:
    """The name of an upgraded database without rows, which is copied for each test."""
    return TEMPLATE


@pytest.fixture
def config_url(postgres: EmbeddedPostgres, migrated_template: str) -> URL:
    """A new, upgraded configuration database without rows."""
    return create_database(postgres, migrated_template)


@pytest.fixture
def config_engine(config_url: URL) -> Iterator[Engine]:
    """An engine of `config_url`."""
    engine = create_config_engine(config_url)
    yield engine
    engine.dispose()


@pytest.fixture
def empty_database(postgres: EmbeddedPostgres) -> Iterator[Engine]:
    """A database without any table."""
    engine = create_config_engine(create_database(postgres))
    yield engine
    engine.dispose()


@pytest.fixture
def bare_database(empty_database: Engine) -> Engine:
    """A database created by config/postgres_init.sql: two tables with the virtual meter, never upgraded."""
    with empty_database.begin() as connection:
        connection.exec_driver_sql(INIT_SQL)
    return empty_database
