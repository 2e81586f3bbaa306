"""The exception codes of Modbus Application Protocol 1.1b3, section 7, and what is done about them. Pure."""

from __future__ import annotations

_WORDS = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "device failure",
    5: "acknowledge",
    6: "device busy",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target device did not respond",
}

DEVICE_FAILURE = 4

REFUSALS = frozenset({2, 3, DEVICE_FAILURE})
"""With these a unit refuses some of the registers, or so many of them: the request is split."""

UNIT_IS_SILENT = 11
"""With this a gateway reports that it waited in vain for the unit."""


def describe(exception_code: int) -> str:
    """The code with its name."""
    return f"exception {exception_code} ({_WORDS.get(exception_code, 'unknown code')})"
