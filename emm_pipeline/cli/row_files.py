"""Write rows as CSV, JSON lines or Parquet, in parts, so that any number of rows fits into memory."""

from __future__ import annotations

import csv
import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from emm_pipeline.errors import ConfigurationError, EmmError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import TextIO


class RowFile(Protocol):
    """A file, or stdout, to which rows are written."""

    def write(self, columns: Mapping[str, Sequence[Any]]) -> None:
        """Write rows, given as columns of equal length, always the same columns. None is a missing value."""


class _CsvFile:
    def __init__(self, file: TextIO, names: Sequence[str]) -> None:
        self._writer = csv.writer(file, lineterminator="\n")
        self._writer.writerow(names)

    def write(self, columns: Mapping[str, Sequence[Any]]) -> None:
        self._writer.writerows(zip(*columns.values(), strict=True))


class _JsonFile:
    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, columns: Mapping[str, Sequence[Any]]) -> None:
        names = tuple(columns)
        rows = (dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True))
        self._file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


class _ParquetFile:
    def __init__(self, path: Path, types: Mapping[str, type]) -> None:
        try:
            import pyarrow as pa  # noqa: PLC0415 - optional
            import pyarrow.parquet as pq  # noqa: PLC0415
        except ImportError:
            raise ConfigurationError("--parquet needs pyarrow: pip install 'emm-pipeline[parquet]'") from None
        kinds = {str: pa.string(), int: pa.int64(), float: pa.float64()}
        self._table = pa.table
        self._schema = pa.schema([(name, kinds[kind]) for name, kind in types.items()])
        self._writer = pq.ParquetWriter(path, self._schema)

    def write(self, columns: Mapping[str, Sequence[Any]]) -> None:
        self._writer.write_table(self._table(dict(columns), schema=self._schema))

    def close(self) -> None:
        self._writer.close()


@contextmanager
def open_rows(kind: str, path: Path | None, types: Mapping[str, type]) -> Iterator[RowFile]:
    """Yield a file for rows; a file that is not complete is removed.

    Args:
        kind: `csv`, `json` or `parquet`.
        path: The file; None for stdout, which Parquet cannot use.
        types: The columns' names with `str`, `int` or `float`.

    Raises:
        EmmError: The file cannot be written.
        ConfigurationError: Parquet's library is not installed.
    """
    if path is None:
        yield _JsonFile(sys.stdout) if kind == "json" else _CsvFile(sys.stdout, tuple(types))
        return
    part = path.with_name(f"{path.name}.part")
    try:
        if kind == "parquet":
            rows = _ParquetFile(part, types)
            try:
                yield rows
            finally:
                rows.close()
        else:
            with part.open("w", encoding="utf-8", newline="") as file:
                yield _JsonFile(file) if kind == "json" else _CsvFile(file, tuple(types))
        part.replace(path)
    except OSError as err:
        raise EmmError(f"{path} cannot be written: {err.strerror}") from None
    finally:
        part.unlink(missing_ok=True)
