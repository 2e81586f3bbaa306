"""Starts and stops a PostgreSQL server on a data folder and a Unix socket.

This module does not use the start and stop of the wheel: as root these open every parent folder of the data for
reading, they wait no longer than ten seconds, and they mistake any process with the old server's process id for the
server.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from sqlalchemy import URL

from emm_pipeline.embedded_postgres.lock import lock_folder, unlock_folder
from emm_pipeline.embedded_postgres.programs import install_dir, reachable, refuse_closed_folders, system_user
from emm_pipeline.errors import ConfigDatabaseError, ConfigurationError

if TYPE_CHECKING:
    from types import TracebackType

    from psutil import Process  # type: ignore[import-untyped]

START_TIMEOUT_S = 60
"""How long a start, which may include crash recovery, or a stop may take."""

MAX_SOCKET_PATH = 100
"""Maximum length of a Unix socket's path. The limits of the kernels are 104 and 108 bytes."""

_SUPERUSER = "postgres"
_RunErrors = (subprocess.CalledProcessError, subprocess.TimeoutExpired)


class EmbeddedPostgres:
    """A context manager that starts and stops a PostgreSQL server on `data_dir`, which the first start creates.

    The server listens on a Unix socket that only the user running it can reach. It does not stop by itself: the caller
    must leave the context, also on SIGTERM. A server that a killed process left running is stopped at the next start.

    Args:
        data_dir: Folder of the database cluster. For root it must not be in root's home, and all users must be able to
            enter the folders above it: PostgreSQL refuses to run as root, so it runs as the user `pgserver`.
        durable: False is faster, but may lose data if the machine loses power. For tests.
    """

    def __init__(self, data_dir: Path, *, durable: bool = True) -> None:
        self.data_dir = data_dir.resolve()
        self.log = self.data_dir / "server.log"
        self.socket_dir = _socket_dir(self.data_dir)
        self._durable = durable
        self._lock: IO[str] | None = None
        self._bin_dir = Path()
        self._as_user: dict[str, Any] = {}

    @property
    def psql(self) -> Path:
        """The program psql of the same version. It connects with `-h <socket_dir> -U postgres`."""
        return install_dir() / "bin" / "psql"

    def url(self, database: str = "postgres") -> URL:
        """The SQLAlchemy URL of a database on this server."""
        query = {"host": str(self.socket_dir)}
        return URL.create("postgresql+psycopg2", username=_SUPERUSER, database=database, query=query)

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises:
            ConfigurationError: The wheel is missing, the folder cannot be used, or another process uses it.
            ConfigDatabaseError: PostgreSQL did not start. The message contains the end of its log.
        """
        programs = install_dir()
        self.data_dir.parent.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            refuse_closed_folders(self.data_dir)
            self._as_user = system_user()
        self._lock = lock_folder(self.data_dir)
        try:
            self._bin_dir = (reachable(programs, self.data_dir) if self._as_user else programs) / "bin"
            if not (self.data_dir / "PG_VERSION").exists():
                self._make_cluster()
            self._end_leftovers()
            self._start()
        except BaseException:  # including one raised by a signal while pg_ctl starts
            self._end()
            self._release()
            raise

    def stop(self) -> None:
        """Disconnect the clients and stop the server. Does nothing if it is not running."""
        if self._lock is None:
            return
        try:
            self._end()
        finally:
            self._release()

    def kill(self) -> None:
        """Send SIGKILL to all processes of the server, to simulate a power failure. The next `start` recovers."""
        self._kill_processes()
        self._release()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _make_cluster(self) -> None:
        """Run initdb in another folder and rename it, so that an existing cluster is complete even after a kill."""
        unfinished = self.data_dir.with_name(f".{self.data_dir.name}.initdb")
        shutil.rmtree(unfinished, ignore_errors=True)
        self._make_folder(unfinished)
        options = ["--auth=trust", "--encoding=UTF8", "--no-locale"]
        if not self._durable:
            options.append("--no-sync")
        try:
            self._run("initdb", "-D", str(unfinished), "-U", _SUPERUSER, *options)
            unfinished.replace(self.data_dir)
        except _RunErrors as err:
            raise ConfigDatabaseError(f"initdb failed in {unfinished}: {_one_line(err.stderr)}") from err
        except OSError as err:
            raise ConfigurationError(f"{self.data_dir} is not a PostgreSQL cluster and not empty") from err

    def _end_leftovers(self) -> None:
        """Stop a server that a killed process left running, since only one server may write the data.

        Also delete its lock files: PostgreSQL refuses to start if another process has the old server's process id, or a
        zombie that is never reaped in a container.
        """
        self._end()
        (self.data_dir / "postmaster.pid").unlink(missing_ok=True)
        (self.socket_dir / ".s.PGSQL.5432.lock").unlink(missing_ok=True)

    def _end(self) -> None:
        """Stop the server if it is running. Kill processes that do not stop, and children of a killed server."""
        pid_file = self.data_dir / "postmaster.pid"
        server = pid_file.read_text().split("\n")[0] if pid_file.exists() else ""
        # pg_ctl would signal any process that has this id now
        if server in {str(process.pid) for process in self._processes()}:
            with suppress(*_RunErrors):
                self._pg_ctl("stop", "-m", "fast")
        self._kill_processes()

    def _start(self) -> None:
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": f'"{self.socket_dir}"',
            "unix_socket_permissions": "0700",
            "max_connections": "200",
            "max_locks_per_transaction": "256",  # a run locks each gateway that it reads
        }
        if not self._durable:
            settings |= {"fsync": "off", "full_page_writes": "off"}
        options = " ".join(f"-c {name}={shlex.quote(value)}" for name, value in settings.items())
        if self.socket_dir != self.data_dir:
            self._make_folder(self.socket_dir)
        try:
            self._pg_ctl("start", "-l", str(self.log), "-o", options)
        except _RunErrors as err:
            end = self.log.read_text(errors="replace")[-500:] if self.log.exists() else err.stderr
            raise ConfigDatabaseError(f"PostgreSQL did not start; the end of {self.log}: {_one_line(end)}") from err

    def _pg_ctl(self, action: str, *options: str) -> None:
        self._run("pg_ctl", action, "-w", "-t", str(START_TIMEOUT_S), "-D", str(self.data_dir), *options)

    def _run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs. Its output goes to a file, since the server would keep a pipe open."""
        with tempfile.TemporaryFile("w+") as output:
            try:
                subprocess.run(  # noqa: S603 - known program and arguments, no shell
                    [str(self._bin_dir / program), *arguments],
                    check=True,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd="/",
                    timeout=START_TIMEOUT_S + 10,
                    **self._as_user,
                )
            except _RunErrors as err:
                output.seek(0)
                err.stderr = output.read()
                raise

    def _make_folder(self, folder: Path) -> None:
        """Create a folder that only PostgreSQL's user can enter. A folder of another user is an error."""
        owner = self._as_user.get("user", os.geteuid())
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            if folder.stat().st_uid != owner:
                raise ConfigurationError(f"{folder} belongs to another user: delete it") from None
        else:
            os.chown(folder, owner, -1)

    def _processes(self) -> list[Process]:
        """Return the running processes of a server on this data, which is their working directory."""
        import psutil  # noqa: PLC0415 - comes with the wheel

        found = []
        for process in psutil.process_iter():
            try:
                if process.name() == "postgres" and process.cwd() == str(self.data_dir):
                    found.append(process)
            except psutil.Error:  # it has ended, is a zombie, or belongs to another user
                continue
        return found

    def _kill_processes(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while processes := self._processes():
            if time.monotonic() > deadline:
                raise ConfigDatabaseError(f"the PostgreSQL server on {self.data_dir} cannot be killed")
            for process in processes:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
            time.sleep(0.02)

    def _release(self) -> None:
        if self._lock is not None:
            if self.socket_dir != self.data_dir:
                shutil.rmtree(self.socket_dir, ignore_errors=True)
            unlock_folder(self.data_dir, self._lock)
            self._lock = None


def _socket_dir(data_dir: Path) -> Path:
    """Return the data folder, or a folder for temporary files if the path is too long for a socket."""
    if len(os.fsencode(data_dir / ".s.PGSQL.5432")) <= MAX_SOCKET_PATH:
        return data_dir
    digest = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    return Path(tempfile.gettempdir()).resolve() / f"emm-postgres-{digest}"


def _one_line(text: object) -> str:
    return " | ".join(line.strip() for line in str(text).splitlines() if line.strip())
