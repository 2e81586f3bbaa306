"""Check whether every store can hold the texts that name a point: measurement, unit, description (pure).

InfluxDB's line protocol cannot represent some texts: a backslash escapes only a comma, a space or an equals sign, and
is an ordinary character elsewhere. The server would read such a text as another one, or read the next line as a part
of this one. Therefore such a text is a configuration issue of its row.
"""

from __future__ import annotations

import re

POLL_MEASUREMENT = "emm_poll"
"""The pipeline's own measurement, with the results of polls."""

ENERGY_MEASUREMENT = "emm_energy"
"""The pipeline's own measurement, with the energy of hours, days and months."""

ENERGY_TOTAL_MEASUREMENT = "emm_energy_total"
"""The pipeline's own measurement in InfluxDB, with the energy of all meters together."""

OWN_MEASUREMENTS = frozenset({POLL_MEASUREMENT, ENERGY_MEASUREMENT, ENERGY_TOTAL_MEASUREMENT})
"""Names that a register's measurement cannot have."""

MAX_LABEL_BYTES = 20_000
"""Maximum length including escapes. Three such texts fit into the 65 535 bytes that InfluxDB allows for a series."""

_ESCAPED = re.compile("[,= ]")
_MISREAD_BACKSLASH = re.compile(r"\\(=|\Z)")
"""Characters in a tag that the server would read as an escape, and so end the tag or the line at another place."""


def label_issue(text: str) -> str | None:
    """Return why a unit or a description cannot be stored as it is; None if it can."""
    if "\n" in text or "\0" in text:
        return "holds a line break or NUL, which InfluxDB cannot store"
    if found := _MISREAD_BACKSLASH.search(text):
        where = f"before {found[1]}" if found[1] else "at its end"
        return f"has a backslash {where}, which InfluxDB cannot store"
    try:
        size = len(text.encode()) + len(_ESCAPED.findall(text))
    except UnicodeEncodeError:  # a lone surrogate
        return "is not valid Unicode"
    if size > MAX_LABEL_BYTES:
        return f"is {size} bytes long, escapes included; allowed: {MAX_LABEL_BYTES}"
    return None


def measurement_issue(text: str) -> str | None:
    """Return why a measurement's name cannot be stored as it is; None if it can."""
    if not text:
        return "is empty"
    if text in OWN_MEASUREMENTS:
        return "is the name of the pipeline's own measurement"
    # InfluxDB 1.6 stores points with such names, but no query finds them
    if "\\" in text:
        return "has a backslash, and InfluxDB may not find such a measurement in queries"
    # InfluxDB removes leading white space of a line, and skips lines that begin with #
    if text[0] in "\t#":
        return "begins with a tab or #, which InfluxDB would skip"
    return label_issue(text)
