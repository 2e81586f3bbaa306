"""Interfaces of transports and framings, and the errors that they raise (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from emm_pipeline.errors import TransientError
from emm_pipeline.readings import FailureKind

if TYPE_CHECKING:
    from emm_pipeline.readings import Request


class TransportError(TransientError):
    """A failed exchange with a unit: the kind of failure, and a reason without gateway, unit and registers."""

    def __init__(self, kind: FailureKind, reason: str, exception_code: int | None = None) -> None:
        super().__init__(reason)
        self.kind = kind
        self.exception_code = exception_code


class ConnectError(TransportError):
    """The gateway cannot be reached."""

    def __init__(self, reason: str) -> None:
        super().__init__(FailureKind.REFUSED, reason)


class ReadError(TransportError):
    """A failed request: TIMEOUT, CLOSED, INVALID_REPLY or EXCEPTION."""


class ExceptionReplyError(ReadError):
    """The unit, or the gateway for it, replied with a Modbus exception; the transport stays usable."""

    def __init__(self, reason: str, exception_code: int) -> None:
        super().__init__(FailureKind.EXCEPTION, reason, exception_code)


class Transport(Protocol):
    """A link to one gateway for one request at a time, which is opened and closed once.

    After any failure except an exception reply it is closed, so that a late reply cannot be mistaken for the next one.
    """

    @property
    def name(self) -> str:
        """Name for messages, such as `tcp 10.0.0.5:502`."""

    @property
    def is_open(self) -> bool:
        """Whether a request can be sent: the link was opened, and neither end has closed it."""

    async def open(self, timeout_s: float) -> None:
        """Open the link within `timeout_s` seconds.

        Raises:
            ConnectError: With the operating system's reason.
        """

    async def exchange(self, unit_id: int, request: Request, timeout_s: float) -> bytes:
        """Send a request and wait up to `timeout_s` seconds for its reply.

        Returns:
            The registers as received: two bytes for each of `request.count` registers, the high byte first.

        Raises:
            ReadError: There is no reply to this request.
        """

    def close(self) -> None:
        """Close the link immediately. It may be closed twice."""


class Framing(Protocol):
    """Conversion of requests and replies to and from bytes. It has no state, so several links can share an object."""

    def build(self, unit_id: int, request: Request) -> bytes:
        """Return the frame of a request."""

    def parse(self, sent: bytes, received: bytes) -> bytes | None:
        """Return the registers of a reply, two bytes each; None if the reply is still incomplete.

        Args:
            sent: The frame of the request.
            received: All bytes received since then.

        Raises:
            ExceptionReplyError: It is an exception reply.
            ReadError: INVALID_REPLY: these bytes do not begin a reply to this request.
        """
