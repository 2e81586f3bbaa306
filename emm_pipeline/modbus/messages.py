"""Texts about requests that failed and registers that a unit does not support, with what to do. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emm_pipeline.modbus.exception_codes import describe, remedy
from emm_pipeline.readings import FailureKind, Request

if TYPE_CHECKING:
    from emm_pipeline.fleet import MeterType
    from emm_pipeline.readings import UnsupportedRange

_NAMES_SHOWN = 3

_REMEDIES = {
    FailureKind.TIMEOUT: "look at unit id and wiring; a slow gateway or meter may need a longer timeout",
    FailureKind.REFUSED: "look at host and port (Modbus TCP mostly listens on 502), at the network, and whether the "
    "device takes one more connection",
    FailureKind.INVALID_REPLY: "something answers that does not speak Modbus TCP here: look at the port, and whether "
    "the gateway is set to Modbus TCP, not RTU over TCP",
    FailureKind.DEADLINE: "the gateway was in use by someone else: try again",
    FailureKind.CONFIGURATION: "compare the rows of the meter and its type with the device",
}


def advise(kind: FailureKind, exception_code: int | None = None) -> str:
    """What to look at, or to try next."""
    if exception_code is not None:
        return remedy(exception_code)
    return _REMEDIES.get(kind, "try again")


def named(request: Request, meter_type: MeterType) -> str:
    """The request with the measurements that it brings."""
    names = [r.measurement_name for r in meter_type.asked if request.covers(r)]
    more = len(names) - _NAMES_SHOWN
    shown = ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
    return f"{request} ({shown or 'a gap between measurements'})"


def describe_refused(refused: UnsupportedRange, meter_type: MeterType) -> str:
    """Which registers, why they are not read, and when they will be tried again."""
    request = Request(refused.function_code, refused.address, refused.count)
    line = (
        f"{named(request, meter_type)}: refused with {describe(refused.exception_code)} at "
        f"{refused.refused_at:%Y-%m-%d %H:%M} UTC, tried again after {refused.tried_again_at:%Y-%m-%d %H:%M} UTC "
        f"or when the registers of type {meter_type.name} change"
    )
    return " ".join(line.split())


def describe_most_registers(most: int, meter_type: MeterType) -> str:
    """What to do about a unit that takes fewer registers per request than it is asked for."""
    line = (
        f"refuses registers joined that it gives apart: set meter_types.max_registers_per_request of type "
        f"{meter_type.name} to {most} (it is {meter_type.max_registers_per_request})"
    )
    return " ".join(line.split())
