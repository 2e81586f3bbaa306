"""Names and remedies of the exception codes of Modbus Application Protocol 1.1b3, section 7 (pure)."""

from __future__ import annotations

_NAMES = {
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

_REMEDIES = {
    1: "the device does not know this function: try the other one (3 holding registers, 4 input registers)",
    2: "the device has no such register: compare address and function code with its manual (addresses count from 0 "
    "here; 30001 in a manual is mostly function 4, address 0, and 40001 function 3, address 0), or read fewer at once",
    3: "the device does not send so many registers at once: read fewer",
    4: "the device knows the register and could not read it now: try again, then check the device itself",
    5: "the device is processing a long command: try again later",
    6: "the device or gateway is busy: stop other programs that talk to it, or set longer pauses",
    8: "the device found an error in its own memory: restart it; if that does not help, it needs repair",
    10: "the gateway has no way to this unit: compare its port and serial settings with the unit's",
    11: "the unit did not reply to the gateway: check the unit id, the baud rate, the parity, the wiring (A and B) and "
    "the unit's power",
}

ILLEGAL_FUNCTION, DEVICE_FAILURE = 1, 4

UNSUPPORTED = frozenset({2, 3, DEVICE_FAILURE})
"""Codes for which EMM splits the request: the unit does not support some of the registers, or their number."""

NO_REPLY = 0
"""Stands for an exception code: some devices send nothing, or close the connection, instead of exception 2 or 3."""


def describe(exception_code: int) -> str:
    """Return the code with its name."""
    if exception_code == NO_REPLY:
        return "no reply"
    return f"exception {exception_code} ({_NAMES.get(exception_code, 'unknown code')})"


def remedy(exception_code: int) -> str:
    """Return what a person can do about the exception."""
    return _REMEDIES.get(exception_code, "look up the exception code in the device's manual")
