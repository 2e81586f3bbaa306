"""Where the demo keeps its data, and whether it is running."""

from __future__ import annotations

import fcntl
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from zlib import crc32

from emm_pipeline.settings import PROJECT_ROOT


def default_data_dir() -> Path:
    """Return the demo's folder for this checkout and user, outside any home, as PostgreSQL cannot run as root."""
    name = f"emm-demo-{os.geteuid()}-{crc32(str(PROJECT_ROOT).encode()):08x}"
    return Path(tempfile.gettempdir()) / name


def env_file_in(data_dir: Path) -> Path:
    """Return the file with the settings of the demo in a folder."""
    return data_dir / "demo.env"


def is_running_in(data_dir: Path) -> bool:
    """Whether a demo of this user is running on a folder: it holds the folder's lock."""
    with suppress(OSError):
        if data_dir.stat().st_uid != os.geteuid():
            return False
        folder = os.open(data_dir, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(folder)
    return False
