"""Choose rows by many ids, which are sent as one array: as one parameter each, 2500 ids take several milliseconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import any_, cast, true
from sqlalchemy.dialects.postgresql import ARRAY

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Column, ColumnElement


def is_one_of(column: Column[int], ids: Collection[int] | None) -> ColumnElement[bool]:
    """Return the condition that the column contains one of these ids; None: any."""
    if ids is None:
        return true()
    return column == any_(cast(sorted(ids), ARRAY(column.type)))
