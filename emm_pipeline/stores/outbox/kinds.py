"""The kinds of files in the outbox, distinguished by the suffixes of their names, and the module that reads each.

Functions import the formats themselves, because these import NumPy, and code that only checks whether batches wait does
not need them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emm_pipeline.stores.outbox.file import DamagedFileError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from emm_pipeline.stores.base import RejectedPoints
    from emm_pipeline.stores.points import PointBatch

SUFFIX, FORMAT_1_SUFFIX = ".points", ".lp.gz"
SUFFIXES = (SUFFIX, FORMAT_1_SUFFIX)
"""Suffixes of batches: the current one, and that of earlier versions of EMM."""
REJECTED_SUFFIX, FORMAT_1_REJECTED_SUFFIX = ".rejected.jsonl", ".rejected.lp"
REJECTED_SUFFIXES = (REJECTED_SUFFIX, FORMAT_1_REJECTED_SUFFIX)
"""Suffixes of files of rejected points: the current one, and that of earlier versions."""
DAMAGED_SUFFIX = ".damaged"
"""Suffix that is added to the name of a damaged batch."""


def stem_of(name: str) -> str:
    """Return a file's name without the suffix of its kind."""
    suffix = next(suffix for suffix in (*SUFFIXES, *REJECTED_SUFFIXES) if name.endswith(suffix))
    return name.removesuffix(suffix)


def pack_batch(points: PointBatch, run: str) -> bytes:
    """Return the content of a batch's file; `run` is the name of the run that read the points."""
    from emm_pipeline.stores.outbox import format_2  # noqa: PLC0415

    return format_2.pack(points, run)


def read_batch(path: Path) -> PointBatch:
    """Return the points of a batch.

    Raises:
        DamagedFileError: the file cannot be read back.
        OSError: the disk does not return its content.
    """
    from emm_pipeline.stores.outbox import format_1, format_2  # noqa: PLC0415

    unpack = format_1.unpack if path.name.endswith(FORMAT_1_SUFFIX) else format_2.unpack
    return unpack(path.read_bytes(), path.name)


def count_batch(path: Path) -> int:
    """Return the number of points in a batch; 0 if it is damaged or no longer exists."""
    from emm_pipeline.stores.outbox import format_1, format_2  # noqa: PLC0415

    read_count = format_1.read_count if path.name.endswith(FORMAT_1_SUFFIX) else format_2.read_count
    return read_count(path)


def pack_rejected(rejected_points: Sequence[RejectedPoints]) -> bytes:
    """Return the content of a file of rejected points."""
    from emm_pipeline.stores.outbox import rejected  # noqa: PLC0415

    return rejected.pack(rejected_points)


def read_rejected(path: Path) -> PointBatch:
    """Return the points of a file of rejected points.

    Raises:
        DamagedFileError: the file cannot be read back.
        OSError: the disk does not return its content.
    """
    from emm_pipeline.stores.outbox import format_1, rejected  # noqa: PLC0415

    read = format_1.read_rejected if path.name.endswith(FORMAT_1_REJECTED_SUFFIX) else rejected.read
    return read(path)


def describe_rejected(path: Path) -> tuple[int, str]:
    """Return the number of points in a file in `rejected` (0 if damaged or missing), and the reasons in one line."""
    from emm_pipeline.stores.outbox import format_1, rejected  # noqa: PLC0415

    if path.name.endswith(DAMAGED_SUFFIX):
        return 0, "the file is damaged"
    try:
        describe = format_1.describe if path.name.endswith(FORMAT_1_REJECTED_SUFFIX) else rejected.describe
        return describe(path)
    except DamagedFileError as err:
        return 0, str(err)
    except FileNotFoundError:
        return 0, "the file no longer exists: it was put back into the outbox"
