"""Messages about failed requests and unsupported registers, with advice (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from emm_pipeline.modbus.exception_codes import NO_REPLY, describe, remedy
from emm_pipeline.readings import FailureKind, Request

if TYPE_CHECKING:
    from emm_pipeline.fleet import MeterType
    from emm_pipeline.readings import UnsupportedRange

_NAMES_SHOWN = 3

_REMEDIES = {
    FailureKind.TIMEOUT: "check the unit id, the baud rate and the wiring; a slow gateway or meter may need a longer "
    "timeout; if no unit replies, the gateway may pass on RTU frames (transport rtu), or need a pause after connecting "
    "(connect_pause_s, --connect-pause 2); some devices do not reply if they lack the register",
    FailureKind.REFUSED: "check host, port (Modbus TCP usually listens on 502) and network, and whether the device "
    "allows one more connection",
    FailureKind.CLOSED: "the gateway closes the connection instead of replying: check whether it allows one more "
    "connection, whether it knows the unit and the registers, and whether it expects Modbus TCP without TLS",
    FailureKind.INVALID_REPLY: "the replies are not Modbus TCP: check the port, and whether the gateway "
    "is set to Modbus TCP, not to RTU over TCP",
    FailureKind.DEADLINE: "another program was using the gateway: try again",
    FailureKind.CONFIGURATION: "compare the rows of the meter and its type with the device",
}


def advise(kind: FailureKind, exception_code: int | None = None) -> str:
    """Return what to check, or to try next."""
    if exception_code is not None:
        return remedy(exception_code)
    return _REMEDIES.get(kind, "try again")


class _Failure(Protocol):
    """A failed reply, or the error of a transport: what is known of the cause."""

    @property
    def kind(self) -> FailureKind | None: ...
    @property
    def exception_code(self) -> int | None: ...
    @property
    def advice(self) -> str | None: ...


def advise_on(failure: _Failure) -> str:
    """Return what to check, or to try next, after a failure: its own advice, or that for its kind."""
    return failure.advice or advise(failure.kind or FailureKind.TIMEOUT, failure.exception_code)


def named(request: Request, meter_type: MeterType) -> str:
    """Return the request with the names of its measurements."""
    names = [r.measurement_name for r in (*meter_type.asked, *meter_type.labels) if request.covers(r)]
    more = len(names) - _NAMES_SHOWN
    shown = ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
    return f"{request} ({shown or 'a gap between measurements'})"


def describe_unsupported(range_: UnsupportedRange, meter_type: MeterType) -> str:
    """Return the registers, the reason why they are not read, and when they will be tried again."""
    request = Request(range_.function_code, range_.address, range_.count)
    line = (
        f"{named(request, meter_type)}: {_what_came(range_.exception_code)} at "
        f"{range_.refused_at:%Y-%m-%d %H:%M} UTC, tried again {_when_again(range_)} "
        f"or when the registers of type {meter_type.name} change"
    )
    return " ".join(line.split())


def _when_again(range_: UnsupportedRange) -> str:
    if range_.tried_again_at <= range_.refused_at:
        return "with the next poll"
    return f"after {range_.tried_again_at:%Y-%m-%d %H:%M} UTC"


def _what_came(exception_code: int) -> str:
    return "no reply" if exception_code == NO_REPLY else f"refused with {describe(exception_code)}"


def describe_most_registers(most: int, meter_type: MeterType) -> str:
    """Return advice about a unit that sends fewer registers at once than its type requests."""
    line = (
        f"some registers can be read singly but not together; to send smaller requests at once: emm types set "
        f"{meter_type.name} max_registers_per_request={most} (now {meter_type.max_registers_per_request})"
    )
    return " ".join(line.split())
