"""The file of a backup: a zip archive with a manifest, written under a temporary name and renamed at its end."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any, Self

from emm_pipeline.errors import ConfigurationError, EmmError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

FORMAT = 1
_MANIFEST = "manifest.json"
_ONLY_OWNER = 0o600


class BackupError(EmmError):
    """A backup or a restore failed; the message names the file or the part."""


class ArchiveWriter:
    """Writes a backup. The file appears under its name only if the block ends without an error.

    Args:
        file: the path of the backup. It contains credentials, so only its owner can read it.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._temporary = file.with_name(f".{file.name}.part")

    def __enter__(self) -> Self:
        """Create the temporary file."""
        try:
            descriptor = os.open(self._temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC, _ONLY_OWNER)
            self._stream = os.fdopen(descriptor, "w+b")
            os.fchmod(descriptor, _ONLY_OWNER)
            # The file belongs to the owner of its folder, also if root writes it.
            owner = self._file.parent.stat()
            if os.geteuid() == 0:
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
        except OSError as err:
            raise BackupError(f"{self._file} cannot be written: {err.strerror}") from None
        self._zip = zipfile.ZipFile(self._stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Rename the file, or remove it after an error.

        Raises:
            BackupError: the disk is full, or the file cannot be written for another reason.
        """
        try:
            if error is None:
                self._zip.close()
                self._stream.flush()
                os.fsync(self._stream.fileno())
                self._temporary.replace(self._file)
                return
        except OSError as err:
            error = err
        finally:
            with suppress(OSError, ValueError):  # it would try again when it is collected
                self._zip.close()
            self._stream.close()
            self._temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise BackupError(f"{self._file} cannot be written: {error.strerror}") from None

    @contextmanager
    def stream(self, name: str) -> Iterator[IO[bytes]]:
        """Yield a stream whose content becomes the part `name`; its size need not be known."""
        with self._zip.open(name, "w", force_zip64=True) as stream:
            yield stream

    def json(self, name: str, content: Any) -> None:
        """Write a part as JSON."""
        with self.stream(name) as stream:
            stream.write(json.dumps(content, indent=1).encode())

    def manifest(self, content: dict[str, Any]) -> None:
        """Write the manifest, at the end."""
        self.json(_MANIFEST, {"format": FORMAT, **content})


class ArchiveReader:
    """Reads a backup.

    Raises:
        ConfigurationError: it is not a backup, is damaged, or was written by a newer version of EMM.
    """

    def __init__(self, file: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(file)
            self.manifest: dict[str, Any] = json.loads(self._zip.read(_MANIFEST))
        except OSError as err:
            raise ConfigurationError(f"{file} cannot be read: {err.strerror}") from None
        except (zipfile.BadZipFile, zlib.error, KeyError, ValueError):
            raise ConfigurationError(f"{file} is not a backup of EMM, or is incomplete") from None
        if self.manifest.get("format") != FORMAT:
            raise ConfigurationError(f"{file} was written by a newer version of EMM: install that version first")
        self._file = file

    def __enter__(self) -> Self:
        """Return the reader."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._zip.close()

    def check(self) -> None:
        """Read everything once, before anything is changed.

        Raises:
            ConfigurationError: a part is damaged.
        """
        try:
            damaged = self._zip.testzip()
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError) as err:
            damaged = str(err)
        if damaged:
            raise ConfigurationError(f"{self._file} is damaged ({damaged}): nothing was changed")

    def names(self, beginning: str) -> list[str]:
        """Return the names of the parts that begin with a text, in the order in which they were written."""
        return [name for name in self._zip.namelist() if name.startswith(beginning)]

    def has(self, name: str) -> bool:
        """Whether there is a part with this name."""
        return name in self._zip.NameToInfo

    @contextmanager
    def stream(self, name: str) -> Iterator[IO[bytes]]:
        """Yield a stream of a part's content."""
        with self._zip.open(name) as stream:
            yield stream

    def json(self, name: str) -> Any:
        """Return the content of a part written by `ArchiveWriter.json`."""
        return json.loads(self._zip.read(name))
