"""`python -m tools.walkthrough [--write]`: run the commands, and compare docs/walkthrough.md with their output."""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from emm_pipeline.cli.demo.processes import ProcessGroup, free_port, listens
from emm_pipeline.embedded_postgres import EmbeddedPostgres
from tools.walkthrough.document import DOCUMENT, outdated, with_blocks
from tools.walkthrough.steps import Walkthrough, WalkthroughError, run_emm

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator, Mapping, Sequence

PORT_IN_THE_DOCUMENT = 5020
START_TIMEOUT_S = 60


def main(
    arguments: Sequence[str],
    execute: Callable[[Sequence[str], Mapping[str, str]], subprocess.CompletedProcess[str]] = run_emm,
) -> int:
    """Return the exit code: 0 if every command did what is expected and the document shows its output.

    Args:
        arguments: `--write`, or nothing.
        execute: Runs a command of EMM.
    """
    parser = argparse.ArgumentParser(description="Run every command of docs/walkthrough.md and check its result.")
    parser.add_argument("--write", action="store_true", help="write the output into docs/walkthrough.md")
    write = parser.parse_args(arguments).write
    with _folder() as folder, EmbeddedPostgres(folder / "postgres", durable=False) as postgres:
        settings = {
            "POSTGRES_HOST": str(postgres.socket_dir),
            "POSTGRES_PORT": "5432",
            "POSTGRES_USER": "postgres",
            "POSTGRES_DB": "emm",
            "READINGS_STORE": "postgresql",
            "OUTBOX_DIR": str(folder / "outbox"),
            "EMM_COMMAND": "emm",  # as the page shows it
        }
        port = _port()
        walkthrough = Walkthrough(settings, f"127.0.0.1:{port}", execute)
        with ProcessGroup(folder / "logs") as processes:
            units = [sys.executable, "-m", "tools.walkthrough.units", "--host", "127.0.0.1", "--port", str(port)]
            processes.start("units", units, os.environ)
            _wait_for(port, processes)
            try:
                walkthrough.run()
            except WalkthroughError as err:
                print(f"error: {err}", file=sys.stderr)
                return 1
    text = DOCUMENT.read_text(encoding="utf-8")
    if write:
        DOCUMENT.write_text(with_blocks(text, walkthrough.blocks), encoding="utf-8")
        print(f"written: {DOCUMENT.name}")
    elif stale := outdated(text, walkthrough.blocks):
        print(
            f"error: {DOCUMENT.name} is outdated ({', '.join(stale)}): run make walkthrough ARGS=--write",
            file=sys.stderr,
        )
        return 1
    return 0


@contextmanager
def _folder() -> Iterator[Path]:
    """Yield a temporary folder that PostgreSQL's user can enter."""
    folder = Path(tempfile.mkdtemp(prefix="emm-walkthrough-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _port() -> int:
    """Return the port that the document shows, or a free one if that is in use."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", PORT_IN_THE_DOCUMENT))
        except OSError:
            return free_port()
    return PORT_IN_THE_DOCUMENT


def _wait_for(port: int, processes: ProcessGroup) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not listens(port):
        processes.check()
        if time.monotonic() > deadline:
            raise TimeoutError(f"the simulated units do not listen on port {port}")
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
