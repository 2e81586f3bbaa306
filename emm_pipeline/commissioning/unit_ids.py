"""Unit ids as a person types them, such as `1-247` or `1,3,10-20` (pure)."""

from __future__ import annotations

import re

from emm_pipeline.config_db.validation.meters import HIGHEST_UNIT_ID

_PART = re.compile(r"(\d{1,3})(?:-(\d{1,3}))?", re.ASCII)


def parse_unit_ids(text: str) -> tuple[int, ...]:
    """Return unit ids, each once, in the order given.

    Raises:
        ValueError: A part is not a unit id, or a range of them; the message names it.
    """
    units: dict[int, None] = {}
    for part in text.replace(" ", "").split(","):
        found = _PART.fullmatch(part)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if not first <= last <= HIGHEST_UNIT_ID:
            raise ValueError(f"{part!r} is not a unit id (0 to 255) or a range of them; examples: 5, 1-247")
        units |= dict.fromkeys(range(first, last + 1))
    return tuple(units)
