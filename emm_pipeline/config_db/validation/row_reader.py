"""Read one row column by column; an invalid value becomes a configuration issue (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from emm_pipeline.config_db.values import InvalidValueError
from emm_pipeline.fleet import ConfigurationIssue

if TYPE_CHECKING:
    from collections.abc import Callable

Row = Mapping[str, Any]
"""Maps each column to its value."""


class RowReader:
    """Reads a row of `table`; `name` identifies the row for a person.

    `issues` make the row invalid, `remarks` do not.
    """

    def __init__(self, table: str, name: str, row: Row, meter_id: int | None = None) -> None:
        self.issues: list[ConfigurationIssue] = []
        self.remarks: list[ConfigurationIssue] = []
        self._table, self._name, self._meter_id = table, name, meter_id
        self._row = row

    def read(self, column: str, convert: Callable[..., Any], *limits: Any) -> Any:
        """Return the column's converted value. It is meaningful only if there are no issues."""
        try:
            return convert(self._row.get(column), *limits)
        except InvalidValueError as err:
            self.report(column, str(err))
            return None

    def read_or(self, default: Any, column: str, convert: Callable[..., Any], *limits: Any) -> Any:
        """Return the column's converted value, or `default` if it is null, absent or invalid."""
        if self._row.get(column) is None:
            return default
        value = self.read(column, convert, *limits)
        return default if value is None else value

    def read_if_possible(self, column: str, convert: Callable[..., Any]) -> Any:
        """Return the column's converted value, or None with a remark if it is invalid; the row stays valid."""
        try:
            return None if self._row.get(column) is None else convert(self._row[column])
        except InvalidValueError as err:
            self.remarks.append(ConfigurationIssue(self._table, self._name, column, f"{err}; ignored"))
            return None

    def report(self, column: str, reason: str) -> None:
        """Add an issue on this row."""
        self.issues.append(ConfigurationIssue(self._table, self._name, column, reason, self._meter_id))
