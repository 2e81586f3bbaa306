"""The output of `make demo` for the README, from one run of the real command."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path


def demo_output() -> str:
    """Return what `emm demo --once` prints on stdout, as a fenced block."""
    with tempfile.TemporaryDirectory(prefix="emm-docs-") as folder:
        Path(folder).chmod(0o755)
        command = [str(Path(sys.executable).with_name("emm")), "demo", "--once", "--data-dir", f"{folder}/demo"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - our own command
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    return "\n".join(["```text", *lines, "```"])
