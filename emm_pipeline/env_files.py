"""Read files that hold settings: env files, and folders with a file for each setting."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emm_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path


def require_readable(files: Sequence[Path]) -> None:
    """Raise ConfigurationError for the first file that cannot be read."""
    for path in files:
        try:
            path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as err:
            raise ConfigurationError(f"the settings file {path} cannot be read: {err}") from None


def files_in(folder: Path | None) -> list[Path]:
    """Return a folder's files by name; an empty list if there is no folder or it cannot be read."""
    try:
        return sorted(folder.iterdir()) if folder else []
    except OSError:
        return []


def read_values(folder: Path, names: Collection[str]) -> dict[str, str]:
    """Return the texts of the files with these names, without surrounding blanks; empty texts are omitted.

    Raises:
        OSError: the folder or a file cannot be read.
    """
    files = [file for file in folder.iterdir() if file.name in names]
    return {file.name: text for file in files if (text := file.read_text(encoding="utf-8").strip())}
