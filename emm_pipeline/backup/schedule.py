"""The daily backup: when the next one is due, and which files are kept."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from emm_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path
    from zoneinfo import ZoneInfo

_NAME = re.compile(r"emm-\d{4}-\d{2}-\d{2}T\d{4}\.zip")


def next_time(after: datetime, hour: int, minute: int, zone: ZoneInfo) -> datetime:
    """Return the first time later than `after` (aware) at which the clock in `zone` shows hour and minute."""
    local = after.astimezone(zone)
    due = local.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return due if due > local else due + timedelta(days=1)


def file_name(at: datetime) -> str:
    """Return the name of a daily backup; the names sort oldest first."""
    return f"emm-{at:%Y-%m-%dT%H%M}.zip"


def newest(folder: Path) -> datetime | None:
    """Return when the newest daily backup was written; None if there is none.

    Raises:
        ConfigurationError: the folder does not exist, or cannot be read.
    """
    try:
        times = [path.stat().st_mtime for path in folder.iterdir() if _NAME.fullmatch(path.name)]
    except OSError as err:
        raise ConfigurationError(f"BACKUP_DIR={folder} cannot be read: {err.strerror}") from None
    return datetime.fromtimestamp(max(times), UTC) if times else None


def remove_old(folder: Path, keep: int) -> list[Path]:
    """Remove all daily backups but the newest `keep`, and return the removed files; other files are not changed."""
    files = sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))
    old = files[:-keep]
    for path in old:
        path.unlink(missing_ok=True)
    return old
