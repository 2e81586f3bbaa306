"""A value that is read from files, and read again after one of them has changed, without a restart."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Generic, TypeVar

from emm_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

T = TypeVar("T")
_log = logging.getLogger(__name__)


class ReloadedValue(Generic[T]):
    """Reads a value at the first call, and again after a change of its files.

    Args:
        load: reads the value; raises ConfigurationError if it is invalid.
        files_of: returns the files from which a value was read; some may not exist.
    """

    def __init__(self, load: Callable[[], T], files_of: Callable[[T], Sequence[Path]]) -> None:
        self._load = load
        self._files_of = files_of
        self._value: T | None = None
        self._stamps: tuple[object, ...] = ()

    def __call__(self) -> T:
        """Return the value; the check of the files takes some microseconds.

        An invalid change is logged once, and the previous value stays in use.

        Raises:
            ConfigurationError: the value is invalid, and there is no previous one.
        """
        if self._value is None:
            self._value = self._load()  # determines the files to check
            self._stamps = ()
        stamps = tuple(_stamp(file) for file in self._files_of(self._value))
        if stamps != self._stamps:
            try:
                self._value = self._load()
            except ConfigurationError as err:
                _log.error("changed settings are invalid, the previous ones stay in use: %s", err)
            self._stamps = stamps  # taken before the load: a later change is noticed at the next call
        return self._value

    def cache_clear(self) -> None:
        """Read the value again at the next call, for example because the environment was changed."""
        self._value = None


def _stamp(file: Path) -> tuple[object, ...]:
    try:
        status = file.stat()
    except OSError:
        return (file, None)
    return (file, status.st_ino, status.st_size, status.st_mtime_ns)
