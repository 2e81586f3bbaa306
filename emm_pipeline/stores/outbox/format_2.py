r"""A batch of points as a file, format 2: columns, compressed, with a checksum. Pure.

| bytes | content (integers are little-endian, unsigned) |
| --- | --- |
| 0 to 7 | `EMMPOINT` |
| 8 to 11 | the format's version: 2 |
| 12 to 15 | number of points in the file |
| 16 to 19 | CRC-32 of bytes 8 to 15 and of all bytes from 20 to the end |
| from 20 | zlib-compressed: a line of JSON that ends with `\n`, then the columns one after the other |

The JSON is `{"run": …, "rows": {"readings": …, "polls": …}, "columns": [[table, column, type, texts], …]}`. `type` is
NumPy's (`<i8`, `<f8`, `|b1` …); `texts` is null, or the texts that the codes of a text column mean (-1: no text). A
column contains the first bytes of all its rows, then all second bytes, and so on, because it compresses better if
adjacent bytes are equal.

200 000 points of 10 000 meters take 0.63 MB and 30 ms of CPU; gzipped line protocol takes 3.0 MB and 0.1 s, after 0.3 s
for formatting the text; Arrow's IPC format takes 0.89 MB and 11 ms, and needs a library of 170 MB (10 points: 0.2 kB,
Arrow 2.6 kB).
"""

from __future__ import annotations

import json
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from emm_pipeline.stores.outbox.file import DamagedFileError
from emm_pipeline.stores.points import PointBatch, Polls, Readings, TextColumn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from emm_pipeline.stores.points import Column

VERSION = 2

_MAGIC = b"EMMPOINT"
_COUNTS = struct.Struct("<II")
_CHECKSUM = struct.Struct("<I")
_START = len(_MAGIC) + _COUNTS.size + _CHECKSUM.size
_TABLES = {"readings": Readings, "polls": Polls}
_ZLIB_LEVEL = 1
"""Compression level; level 6 takes twice the time and saves only a tenth of the size."""


def pack(points: PointBatch, run: str) -> bytes:
    """Return a file's content; `run` is the name of the run that read the points."""
    described, parts = [], [b""]
    for name in _TABLES:
        for column_name, column in getattr(points, name).columns().items():
            values, texts = (column.codes, column.distinct) if isinstance(column, TextColumn) else (column, None)
            values = values.astype(values.dtype.newbyteorder("<"), copy=False)
            described.append([name, column_name, values.dtype.str, texts])
            parts.append(_by_byte(values))
    rows = {name: len(getattr(points, name)) for name in _TABLES}
    parts[0] = json.dumps({"run": run, "rows": rows, "columns": described}).encode() + b"\n"
    counts = _COUNTS.pack(VERSION, len(points))
    content = zlib.compress(b"".join(parts), _ZLIB_LEVEL)
    return b"".join((_MAGIC, counts, _CHECKSUM.pack(_crc(counts, content)), content))


def unpack(content: bytes, name: str) -> PointBatch:
    """Return the points of a file's content.

    Raises:
        DamagedFileError: the content was not created by `pack`, or is damaged.
    """
    count = _count(content, name)
    counts, (checksum,) = content[len(_MAGIC) :][: _COUNTS.size], _CHECKSUM.unpack_from(content, _START - 4)
    if _crc(counts, content[_START:]) != checksum:
        raise DamagedFileError(f"{name} is damaged: its checksum does not match")
    try:
        points = _unpacked(zlib.decompress(content[_START:]))
    except (zlib.error, ValueError, KeyError, TypeError) as err:
        raise DamagedFileError(f"{name} is damaged: {err}") from err
    if len(points) != count:
        raise DamagedFileError(f"{name} is damaged: it holds {len(points)} points of {count}")
    return points


def read_count(path: Path) -> int:
    """Return the number of points given in the first bytes of a file; 0 if it is damaged."""
    try:
        with path.open("rb") as file:
            return _count(file.read(_START), path.name)
    except (OSError, ValueError):
        return 0


def _count(content: bytes, name: str) -> int:
    if len(content) < _START or not content.startswith(_MAGIC):
        raise DamagedFileError(f"{name} is not a file of EMM's outbox: it begins with {content[:8]!r}")
    version, count = _COUNTS.unpack_from(content, len(_MAGIC))
    if version != VERSION:
        raise DamagedFileError(f"{name} has the format {version}; this version of EMM reads {VERSION}")
    return int(count)


def _crc(counts: bytes, content: bytes) -> int:
    return zlib.crc32(content, zlib.crc32(counts))


def _unpacked(content: bytes) -> PointBatch:
    line, _, _ = content.partition(b"\n")
    header = json.loads(line)
    start = len(line) + 1
    columns: dict[str, dict[str, Column]] = {name: {} for name in _TABLES}
    for table, name, values, texts in _columns(content, start, header):
        columns[table][name] = values if texts is None else TextColumn(values, tuple(texts))
    # Files of earlier versions have no status.
    columns["polls"].setdefault("status", TextColumn.of([None] * header["rows"]["polls"]))
    return PointBatch(**{name: table(**columns[name]) for name, table in _TABLES.items()})


def _columns(content: bytes, start: int, header: Any) -> Iterator[tuple[str, str, NDArray[Any], list[str] | None]]:
    for table, name, type_name, texts in header["columns"]:
        rows = header["rows"][table]
        dtype = np.dtype(type_name)
        size = rows * dtype.itemsize
        by_byte = np.frombuffer(content, np.uint8, size, start).reshape(dtype.itemsize, rows)
        yield table, name, np.ascontiguousarray(by_byte.T).view(dtype).reshape(rows), texts
        start += size


def _by_byte(values: NDArray[Any]) -> bytes:
    """Return the bytes of values: the first byte of all values, then the second byte of all values, and so on."""
    return np.ascontiguousarray(values).view(np.uint8).reshape(len(values), values.itemsize).T.tobytes()
