"""The stack's PostgreSQL: it accepts no published password, each service has its own role, and passwords rotate."""

import threading
from contextlib import closing

import psycopg2
import psycopg2.errors
import pytest
from sqlalchemy import create_engine, text
from support.passwords import ADMIN, GuardedPostgres
from support.postgres import INIT_SQL

from emm_pipeline.access.stack import StackAccess, create_credentials
from emm_pipeline.cli.commands.database import upgrade_databases
from emm_pipeline.errors import ConfigurationError
from emm_pipeline.opening import follow_rotation, open_config_database
from emm_pipeline.settings import load_settings

EXAMPLE = "example_postgres_password"


@pytest.fixture
def stack(example_postgres, tmp_path):
    """A stack whose volume was created with the published password."""
    return stack_of(example_postgres, tmp_path, POSTGRES_PASSWORD=EXAMPLE)


def stack_of(server: GuardedPostgres, folder, **variables: str) -> StackAccess:
    (folder / "secrets").mkdir(exist_ok=True)
    return StackAccess(folder, server.settings(), variables, lambda _: None)


def upgrade(server: GuardedPostgres, stack: StackAccess) -> None:
    """Apply the credentials as init does."""
    create_credentials(stack.folders, stack.vault, print)
    stack.apply_postgres()
    owner = {name.lower(): stack.folders.read("secrets/owner", name) for name in files_of(stack, "secrets/owner")}
    upgrade_databases(server.settings(**owner), lambda _: None)


def files_of(stack: StackAccess, service: str) -> list[str]:
    return sorted(file.name for file in (stack.folders.folder / service).iterdir())


def role_of(stack: StackAccess, service: str) -> tuple[str, str]:
    return stack.folders.read(service, "POSTGRES_USER"), stack.folders.read(service, "POSTGRES_PASSWORD")


def test_a_volume_made_with_the_published_password_no_longer_accepts_it(example_postgres, stack):
    assert example_postgres.accepts(ADMIN, EXAMPLE)
    upgrade(example_postgres, stack)
    assert not example_postgres.accepts(ADMIN, EXAMPLE)
    assert example_postgres.accepts(ADMIN, stack.vault.value("POSTGRES_PASSWORD"))
    upgrade(example_postgres, stack)
    assert example_postgres.accepts(ADMIN, stack.vault.value("POSTGRES_PASSWORD"))


def test_rows_of_an_older_stack_are_kept_and_its_tables_can_be_migrated(example_postgres, stack):
    with closing(example_postgres.connect(ADMIN, EXAMPLE)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(INIT_SQL)
        cursor.execute("INSERT INTO energy_meters VALUES (7, 'h', 502, 1, 'virtual_modbustcp', 'theirs')")
    upgrade(example_postgres, stack)
    with closing(example_postgres.connect(*role_of(stack, "pipeline"))) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT description FROM energy_meters WHERE id = 7")
        assert cursor.fetchone() == ("theirs",)


def test_a_password_that_the_user_set_is_used_and_never_replaced(example_postgres, tmp_path):
    stack = stack_of(example_postgres, tmp_path, POSTGRES_PASSWORD="mine")
    upgrade(example_postgres, stack)
    assert example_postgres.accepts(ADMIN, "mine")
    assert not example_postgres.accepts(ADMIN, EXAMPLE)
    upgrade(example_postgres, stack)
    assert example_postgres.accepts(ADMIN, "mine")


def test_for_a_server_with_an_unknown_password_the_error_says_what_to_do(example_postgres, tmp_path):
    example_postgres.reset("of another installation")
    stack = stack_of(example_postgres, tmp_path)
    with pytest.raises(ConfigurationError, match=r"role emm has in config/\.env") as caught:
        stack.apply_postgres()
    assert stack.vault.value("POSTGRES_PASSWORD") not in str(caught.value)


@pytest.mark.parametrize("service", ["secrets/owner", "pipeline", "dagster", "mqtt", "web"])
def test_no_service_connects_as_superuser(example_postgres, stack, service):
    upgrade(example_postgres, stack)
    user, password = role_of(stack, service)
    assert user != ADMIN
    with closing(example_postgres.connect(user, password)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT rolsuper, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = current_user")
        assert cursor.fetchone() == (False, False, False)
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute("COPY energy_meters FROM PROGRAM 'id'")


def test_the_pipeline_reads_and_writes_rows_and_cannot_change_tables(example_postgres, stack):
    upgrade(example_postgres, stack)
    with closing(example_postgres.connect(*role_of(stack, "pipeline"))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO energy_meters VALUES (1, 'h', 502, 1, 'sdm630', 'x')")
            cursor.execute("UPDATE energy_meters SET description = 'y'")
            cursor.execute("DELETE FROM energy_meters")
            for statement in (
                "DROP TABLE energy_meters",
                "ALTER TABLE registers ADD x integer",
                "CREATE TABLE t (x int)",
            ):
                with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                    cursor.execute(statement)


def test_the_role_of_the_mqtt_service_reads_rows_of_present_and_future_tables_and_writes_none(example_postgres, stack):
    upgrade(example_postgres, stack)
    with closing(example_postgres.connect(*role_of(stack, "secrets/owner"))) as connection, connection:
        connection.cursor().execute("CREATE TABLE later (x int)")
    with closing(example_postgres.connect(*role_of(stack, "mqtt"))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for table in ("energy_meters", "registers", "meter_labels", "meter_status", "later"):
                cursor.execute(f"SELECT count(*) FROM {table}")
            for statement in (
                "INSERT INTO energy_meters VALUES (1, 'h', 502, 1, 'sdm630', 'x')",
                "UPDATE registers SET scale = 2",
                "DELETE FROM meter_status",
                "CREATE TABLE t (x int)",
            ):
                with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                    cursor.execute(statement)


def test_the_role_of_the_mqtt_service_sees_neither_passwords_nor_tokens_of_the_web_page(example_postgres, stack):
    upgrade(example_postgres, stack)
    for _ in range(2):  # after the migration, and after the rights were granted again
        with closing(example_postgres.connect(*role_of(stack, "mqtt"))) as connection, connection.cursor() as cursor:
            for table in ("web_accounts", "web_tokens", "web_changes"):
                with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                    cursor.execute(f"SELECT FROM {table}")
                connection.rollback()
        stack.apply_postgres()
    with closing(example_postgres.connect(*role_of(stack, "web"))) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT FROM web_accounts, web_tokens, web_changes")


def test_the_webservers_role_does_not_see_the_meters(example_postgres, stack):
    upgrade(example_postgres, stack)
    with closing(example_postgres.connect(*role_of(stack, "dagster"))) as connection:
        cursor = connection.cursor()
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute("SELECT * FROM energy_meters")
    with closing(example_postgres.connect(*role_of(stack, "dagster"), "emm_dagster")) as connection:
        connection.cursor().execute("SELECT * FROM runs")


def test_a_user_that_cannot_create_roles_is_used_by_all_services(example_postgres, tmp_path):
    with closing(example_postgres.connect("postgres", "")) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE ROLE plain LOGIN PASSWORD 'mine'")
        connection.commit()
    settings = example_postgres.settings(postgres_user="plain")
    (tmp_path / "secrets").mkdir()
    stack = StackAccess(tmp_path, settings, {"POSTGRES_PASSWORD": "mine"}, lambda _: None)
    stack.apply_postgres()
    assert role_of(stack, "pipeline") == role_of(stack, "dagster") == role_of(stack, "mqtt") == ("plain", "mine")


def test_after_a_rotation_old_passwords_are_refused_and_an_engine_in_use_continues(
    example_postgres, stack, monkeypatch
):
    upgrade(example_postgres, stack)
    old = {service: role_of(stack, service) for service in ("secrets/owner", "pipeline", "dagster", "mqtt")}
    admin = stack.vault.value("POSTGRES_PASSWORD")
    access = stack.folders.folder / "pipeline"
    monkeypatch.setenv("EMM_ACCESS_DIR", str(access))
    monkeypatch.setenv("POSTGRES_HOST", str(example_postgres.server.socket_dir))
    place = {"host": str(example_postgres.server.socket_dir), "dbname": "emm"}
    engine = create_engine("postgresql+psycopg2://", connect_args=place)
    follow_rotation(engine, lambda: load_settings().config_database_url)
    stop, failures, reads = threading.Event(), [], [0]

    def poll() -> None:
        while not stop.is_set():
            try:
                with engine.connect() as connection:
                    connection.execute(text("SELECT count(*) FROM energy_meters"))
                engine.dispose()  # so that the next one logs in again
                reads[0] += 1
            except Exception as err:  # noqa: BLE001  # shown below
                failures.append(err)

    polls = threading.Thread(target=poll)
    polls.start()
    try:
        for _ in range(3):
            stack.rotate_postgres()
            before = reads[0]
            while reads[0] < before + 3 and not failures:
                stop.wait(0.01)
    finally:
        stop.set()
        polls.join()
        engine.dispose()
    assert failures == []
    for service, (user, password) in old.items():
        assert not example_postgres.accepts(user, password), service
        assert example_postgres.accepts(*role_of(stack, service)), service
    assert not example_postgres.accepts(ADMIN, admin)


def test_a_rotated_password_stays_in_use_though_the_users_old_one_is_still_set(example_postgres, tmp_path):
    stack = stack_of(example_postgres, tmp_path, POSTGRES_PASSWORD="mine")
    upgrade(example_postgres, stack)
    stack.rotate_postgres()
    assert not example_postgres.accepts(ADMIN, "mine")
    upgrade(example_postgres, stack_of(example_postgres, tmp_path, POSTGRES_PASSWORD="mine"))
    assert not example_postgres.accepts(ADMIN, "mine")


def test_the_services_files_contain_settings_for_both_databases(example_postgres, stack, monkeypatch):
    upgrade(example_postgres, stack)
    monkeypatch.setenv("POSTGRES_HOST", str(example_postgres.server.socket_dir))
    monkeypatch.setenv("EMM_ACCESS_DIR", str(stack.folders.folder / "pipeline"))
    settings = load_settings()
    assert settings.config_database_url.username == "emm_pipeline"
    assert settings.dagster_database_url.username == "emm_dagster"
    with open_config_database(settings) as engine, engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM energy_meters")) == 0
