"""Starts and stops a PostgreSQL server on a data folder and a Unix socket.

The wheel's own start
opens every parent folder of the data for reading when it runs as root, waits no longer than ten seconds, and
takes any process that has the old server's id for the server; so starting and stopping are done here.
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
"""How long a start (which may recover from a crash) or a stop may take."""

MAX_SOCKET_PATH = 100
"""Longest path of a Unix socket, with room to spare (the kernels' limits are 104 and 108 bytes)."""

_SUPERUSER = "postgres"
_RunErrors = (subprocess.CalledProcessError, subprocess.TimeoutExpired)


class EmbeddedPostgres:
    """A PostgreSQL server on `data_dir`, made at its first start; a context manager that starts and stops it.

    It listens on a Unix socket that only the user running it can reach. It does not stop by itself: the
    caller must leave the context, also on SIGTERM. What a killed process left running is ended at the next
    start.

    Args:
        data_dir: Folder of the database cluster. When run as root, not under root's home, and every folder
            above it must be open to all: PostgreSQL does not run as root, and gets the user `pgserver`.
        durable: False is faster, and may lose the data with the machine's power: for tests.
    """

    def __init__(self, data_dir: Path, *, durable: bool = True) -> None:
        self.data_dir = data_dir.resolve()
        self.socket_dir = _socket_dir(self.data_dir)
        self._durable = durable
        self._lock: IO[str] | None = None
        self._bin_dir = Path()
        self._as_user: dict[str, Any] = {}

    @property
    def psql(self) -> Path:
        """The program psql of the same version; it reaches the server with `-h <socket_dir> -U postgres`."""
        return install_dir() / "bin" / "psql"

    def url(self, database: str = "postgres") -> URL:
        """The SQLAlchemy URL of a database on this server."""
        query = {"host": str(self.socket_dir)}
        return URL.create("postgresql+psycopg2", username=_SUPERUSER, database=database, query=query)

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises:
            ConfigurationError: The wheel is missing, the folder is unfit, or another process uses it.
            ConfigDatabaseError: PostgreSQL did not start; the text has the end of its log.
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
        except BaseException:  # also a signal's, in the midst of pg_ctl's start
            self._end()
            self._release()
            raise

    def stop(self) -> None:
        """Stop the server: clients are disconnected, data is safe. Does nothing when it is not started."""
        if self._lock is None:
            return
        try:
            self._end()
        finally:
            self._release()

    def kill(self) -> None:
        """SIGKILL every process of the server, as a power cut would; `start` recovers."""
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
        """Run initdb beside the final place, so that a cluster that is there is complete, killed or not."""
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
            raise ConfigurationError(f"{self.data_dir} is no PostgreSQL cluster and not empty") from err

    def _end_leftovers(self) -> None:
        """End what a killed predecessor left on this data: only one server may ever write it.

        Its lock files go with it: PostgreSQL would refuse to start where another process, or a zombie that
        nobody reaps in a container, has the old server's process id.
        """
        self._end()
        (self.data_dir / "postmaster.pid").unlink(missing_ok=True)
        (self.socket_dir / ".s.PGSQL.5432.lock").unlink(missing_ok=True)

    def _end(self) -> None:
        """Stop the server if it runs; kill what does not stop, and children whose server was killed."""
        pid_file = self.data_dir / "postmaster.pid"
        server = pid_file.read_text().split("\n")[0] if pid_file.exists() else ""
        # pg_ctl signals whatever process has that id now
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
        }
        if not self._durable:
            settings |= {"fsync": "off", "full_page_writes": "off"}
        options = " ".join(f"-c {name}={shlex.quote(value)}" for name, value in settings.items())
        if self.socket_dir != self.data_dir:
            self._make_folder(self.socket_dir)
        log = self.data_dir / "server.log"
        try:
            self._pg_ctl("start", "-l", str(log), "-o", options)
        except _RunErrors as err:
            end = log.read_text(errors="replace")[-500:] if log.exists() else err.stderr
            raise ConfigDatabaseError(f"PostgreSQL did not start; the end of {log}: {_one_line(end)}") from err

    def _pg_ctl(self, action: str, *options: str) -> None:
        self._run("pg_ctl", action, "-w", "-t", str(START_TIMEOUT_S), "-D", str(self.data_dir), *options)

    def _run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs, its output to a file: the server would hold a pipe open."""
        with tempfile.TemporaryFile("w+") as output:
            try:
                subprocess.run(  # noqa: S603 - our own program and arguments, no shell
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
        """Make a folder that only PostgreSQL's user can enter; one made by somebody else is not trusted."""
        owner = self._as_user.get("user", os.geteuid())
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            if folder.stat().st_uid != owner:
                raise ConfigurationError(f"{folder} belongs to another user: remove it") from None
        else:
            os.chown(folder, owner, -1)

    def _processes(self) -> list[Process]:
        """The living processes of a server on this data: each has it as its working directory."""
        import psutil  # noqa: PLC0415 - comes with the wheel

        found = []
        for process in psutil.process_iter():
            try:
                if process.name() == "postgres" and process.cwd() == str(self.data_dir):
                    found.append(process)
            except psutil.Error:  # it ended meanwhile, is a zombie, or somebody else's
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
    """The data folder itself, or a folder in the temporary one where that path is too long for a socket."""
    if len(os.fsencode(data_dir / ".s.PGSQL.5432")) <= MAX_SOCKET_PATH:
        return data_dir
    digest = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    return Path(tempfile.gettempdir()).resolve() / f"emm-postgres-{digest}"


def _one_line(text: object) -> str:
    return " | ".join(line.strip() for line in str(text).splitlines() if line.strip())
