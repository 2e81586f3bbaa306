"""The peak of this process's memory (Linux).

`resource.getrusage` would include the memory of the process that started this one, and of earlier benchmarks.
"""

from __future__ import annotations

import re
from pathlib import Path

_OWN = Path("/proc/self")


def forget_peak() -> None:
    """Let the peak begin at what the process uses now."""
    (_OWN / "clear_refs").write_text("5")


def peak_mib() -> float:
    """Return the highest resident memory since the start of the program or the last `forget_peak`, in MiB."""
    found = re.search(r"^VmHWM:\s+(\d+) kB", (_OWN / "status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) / 1024
