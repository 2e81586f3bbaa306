"""Child processes, each with its own session and log file, all of which are stopped reliably at the end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Self

from emm_pipeline.cli.demo.log_files import MAX_BYTES, rotate
from emm_pipeline.errors import EmmError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

STOP_TIMEOUT_S = 8.0
"""Time in seconds that the processes have to end by themselves before they are killed."""

LOG_LINES_SHOWN = 15


class ProcessGroup:
    """Starts processes, and at the end stops them and all their descendants.

    Each process has its own session, so Ctrl-C in the terminal does not reach it. The processes are stopped in reverse
    order of their start.
    """

    def __init__(self, log_dir: Path) -> None:
        self._log_dir = log_dir
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, command: Sequence[str | Path], environment: Mapping[str, str]) -> None:
        """Start a process whose output goes to `<name>.log`, which is empty at first."""
        self._log_dir.mkdir(parents=True, exist_ok=True)
        self.log(name).unlink(missing_ok=True)
        with self.log(name).open("ab") as log:
            self._running[name] = subprocess.Popen(  # noqa: S603  # our own commands
                [str(part) for part in command],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def log(self, name: str) -> Path:
        """Return the log file of a process."""
        return self._log_dir / f"{name}.log"

    def rotate_logs(self, max_bytes: int = MAX_BYTES) -> None:
        """Empty the log files larger than `max_bytes`, after copying each to `<name>.log.1`; a full disk is ignored."""
        for name in self._running:
            with contextlib.suppress(OSError):
                rotate(self.log(name), max_bytes)

    def pid(self, name: str) -> int:
        """Return a running process's id."""
        return self._running[name].pid

    def kill(self, name: str) -> None:
        """SIGKILL a process and its descendants; it may be started again."""
        _kill_session(self._running.pop(name))

    def check(self) -> None:
        """Raise if a process has ended by itself.

        Raises:
            EmmError: The message names the process, its exit code and the end of its log.
        """
        for name, process in self._running.items():
            if process.poll() is not None:
                lines = self.log(name).read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:]
                end = "\n  ".join(lines)
                raise EmmError(f"{name} ended with exit code {process.returncode}; {self.log(name)} ends:\n  {end}")

    def stop(self) -> None:
        """End every process and its descendants."""
        processes = list(reversed(self._running.values()))
        for process in processes:
            process.terminate()
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for process in processes:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                continue
        for process in processes:
            _kill_session(process)
        self._running.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _kill_session(process: subprocess.Popen[bytes]) -> None:
    # Run workers are children of the code server, in its process group; without this they would outlive it.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def free_port() -> int:
    """Return a TCP port on which no process listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Return whether a process listens on a port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def answers(url: str) -> bool:
    """Return whether an HTTP server answers a request for the URL with status 200."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310  # our own address
            return bool(answer.status == 200)  # noqa: PLR2004
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
