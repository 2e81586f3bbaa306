"""The kinds of files in the outbox, told apart by how their names end, and which module reads each.

The formats are imported by the functions that need them, since they import NumPy: what looks whether something waits
needs names only.
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
"""Batches: as they are written now, and as earlier versions of EMM wrote them."""
REJECTED_SUFFIX, FORMAT_1_REJECTED_SUFFIX = ".rejected.jsonl", ".rejected.lp"
REJECTED_SUFFIXES = (REJECTED_SUFFIX, FORMAT_1_REJECTED_SUFFIX)
"""Rejected points, likewise."""
DAMAGED_SUFFIX = ".damaged"
"""Behind the name of a batch that cannot be read back."""


def stem_of(name: str) -> str:
    """Return a file's name without the suffix that says of which kind it is."""
    suffix = next(suffix for suffix in (*SUFFIXES, *REJECTED_SUFFIXES) if name.endswith(suffix))
    return name.removesuffix(suffix)


def pack_batch(points: PointBatch, run: str) -> bytes:
    """Return the content of a batch's file; `run` names who read the points."""
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
    """Return how many points a batch says that it holds; 0 where it is damaged, or gone."""
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
    """Return how many points a file in `rejected` holds, and in one line why; a damaged or vanished one holds none."""
    from emm_pipeline.stores.outbox import format_1, rejected  # noqa: PLC0415

    if path.name.endswith(DAMAGED_SUFFIX):
        return 0, "cannot be read back"
    try:
        describe = format_1.describe if path.name.endswith(FORMAT_1_REJECTED_SUFFIX) else rejected.describe
        return describe(path)
    except DamagedFileError as err:
        return 0, str(err)
    except FileNotFoundError:
        return 0, "is gone: put back into the outbox meanwhile"
