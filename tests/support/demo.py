"""What a demo leaves behind."""

from pathlib import Path

import psutil


def processes_of(data_dir: Path) -> list[psutil.Process]:
    """Return every process of a demo, identified by its command line or environment."""
    found = []
    for process in psutil.process_iter():
        try:
            about = " ".join(process.cmdline()) + str(process.environ().get("DAGSTER_HOME", ""))
        except psutil.Error:
            continue
        if str(data_dir) in about and process.status() != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def locks_in(data_dir: Path) -> list[Path]:
    """Return every lock file of a demo, without headers of the same name in a copy of PostgreSQL's programs."""
    files = [path for path in data_dir.rglob("*") if "lock" in path.name.lower() and path.is_file()]
    return [path for path in files if not path.relative_to(data_dir).parts[0].startswith(".postgres.programs")]
