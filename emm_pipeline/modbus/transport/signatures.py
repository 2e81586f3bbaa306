"""Servers other than Modbus gateways, recognized by the first bytes that they send."""

from __future__ import annotations

from emm_pipeline.modbus.transport.base import ReadError
from emm_pipeline.modbus.transport.crc import has_right_crc
from emm_pipeline.readings import FailureKind

_SIGNATURES = (
    (
        b"\x15\x03",
        "a TLS server replied",
        "it expects TLS (Modbus Security), which EMM does not support: use the port for Modbus TCP without TLS",
    ),
    (b"HTTP/", "a web server replied", "this is the port of the device's web page; Modbus TCP mostly listens on 502"),
    (b"SSH-", "an SSH server replied", "this is the port for logins; Modbus TCP mostly listens on 502"),
)

USE_RTU = (
    "the gateway passes on serial frames unchanged (RTU over TCP): set transport to rtu, or set the gateway to "
    "Modbus TCP"
)
USE_TCP = "the gateway speaks Modbus TCP: set transport to tcp"

_LEAST_MBAP = 9
_MODBUS_FUNCTIONS = range(1, 5)


def recognized(received: bytes) -> ReadError | None:
    """Return an error that names the sender of these bytes and what to do; None if the sender is unknown."""
    for beginning, reason, advice in _SIGNATURES:
        if received.startswith(beginning):
            return ReadError(FailureKind.INVALID_REPLY, f"{reason} in place of a Modbus gateway", advice=advice)
    return None


def rtu_frame(received: bytes) -> ReadError | None:
    """Return an error if the bytes are an RTU frame; a Modbus TCP frame was expected."""
    if not has_right_crc(received):
        return None
    return ReadError(FailureKind.INVALID_REPLY, "an RTU frame was received, not one of Modbus TCP", advice=USE_RTU)


def mbap_frame(received: bytes) -> ReadError | None:
    """Return an error if the bytes are a Modbus TCP frame; an RTU frame was expected."""
    if len(received) < _LEAST_MBAP or received[2:4] != b"\0\0":
        return None
    if int.from_bytes(received[4:6]) != len(received) - 6 or received[7] & 0x7F not in _MODBUS_FUNCTIONS:
        return None
    return ReadError(FailureKind.INVALID_REPLY, "a Modbus TCP frame was received, not one of RTU", advice=USE_TCP)
