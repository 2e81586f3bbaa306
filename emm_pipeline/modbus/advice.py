"""What a person can do about a request that failed. Pure."""

from __future__ import annotations

from emm_pipeline.modbus.exception_codes import remedy
from emm_pipeline.readings import FailureKind

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
