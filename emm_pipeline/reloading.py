"""A value that is read from files, and read again once one of them has changed: no restart is needed."""

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
        load: reads it; raises ConfigurationError where it is wrong.
        files_of: the files that a value came from; some may be absent.
    """

    def __init__(self, load: Callable[[], T], files_of: Callable[[T], Sequence[Path]]) -> None:
        self._load = load
        self._files_of = files_of
        self._value: T | None = None
        self._stamps: tuple[object, ...] = ()

    def __call__(self) -> T:
        """Return the value; the look at the files takes some microseconds.

        A change that is wrong is logged once, and what was right before stays in force.

        Raises:
            ConfigurationError: the value is wrong, and has never been right.
        """
        if self._value is None:
            self._value = self._load()  # which names the files to look at
            self._stamps = ()
        stamps = tuple(_stamp(file) for file in self._files_of(self._value))
        if stamps != self._stamps:
            try:
                self._value = self._load()
            except ConfigurationError as err:
                _log.error("changed settings are wrong, the ones before stay in force: %s", err)
            self._stamps = stamps  # from before it was read: a change meanwhile is seen at the next call
        return self._value

    def cache_clear(self) -> None:
        """Read it again at the next call: the environment was changed."""
        self._value = None


def _stamp(file: Path) -> tuple[object, ...]:
    try:
        status = file.stat()
    except OSError:
        return (file, None)
    return (file, status.st_ino, status.st_size, status.st_mtime_ns)
