"""The checksum of RTU frames: CRC-16, polynomial 0xA001, low byte first (Modbus over Serial Line 1.02, 6.2.2)."""

from __future__ import annotations

from pymodbus.framer import FramerRTU

CRC_SIZE = 2

LEAST_FRAME = 5
"""Bytes of an exception reply, the shortest there is."""


def has_right_crc(frame: bytes) -> bool:
    """Whether the bytes end with the checksum of the bytes before it."""
    if len(frame) < LEAST_FRAME:
        return False
    return FramerRTU.compute_CRC(frame[:-CRC_SIZE]) == int.from_bytes(frame[-CRC_SIZE:])
