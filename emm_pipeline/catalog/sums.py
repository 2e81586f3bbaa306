"""The grammar of a catalogue file's `combined` lines (pure).

    NAME [UNIT] = PART + PART - FACTOR PART + PART?

A part with a question mark is optional. A measurement without a unit has empty brackets.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_LINE = re.compile(r"(\w+) \[([^\]]*)\] = (.+)")
_TERM = re.compile(r"\s*([+-]?)\s*(?:(\d+(?:\.\d+)?) )?([A-Za-z_]\w*)(\??)")


def parse_combined(type_name: str, text: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of `combined_measurements` that a line describes.

    Raises:
        ValueError: The line does not match the grammar. The message continues a sentence that begins with "combined".
    """
    found = _LINE.fullmatch(text)
    terms = list(_TERM.finditer(found[3])) if found else []
    if not found or "".join(term[0] for term in terms) != found[3] or not all(term[1] for term in terms[1:]):
        raise ValueError(f"is {text!r}; allowed: NAME [UNIT] = PART + PART - FACTOR PART, ? after an optional part")
    for sign, factor, part, optional in (term.groups() for term in terms):
        yield {
            "type": type_name,
            "measurement_name": found[1],
            "data_unit": found[2] or None,
            "part": part,
            "factor": f"{sign}{factor or 1}",
            "optional": bool(optional),
        }
