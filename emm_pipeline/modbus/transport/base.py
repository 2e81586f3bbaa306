"""What a session asks of a transport, what a transport asks of a framing, and how both fail. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from emm_pipeline.errors import TransientError
from emm_pipeline.readings import FailureKind

if TYPE_CHECKING:
    from emm_pipeline.readings import Request


class TransportError(TransientError):
    """Something failed between us and a unit: the kind of failure, and a reason without gateway, unit and registers."""

    def __init__(self, kind: FailureKind, reason: str, exception_code: int | None = None) -> None:
        super().__init__(reason)
        self.kind = kind
        self.exception_code = exception_code


class ConnectError(TransportError):
    """The gateway cannot be reached."""

    def __init__(self, reason: str) -> None:
        super().__init__(FailureKind.REFUSED, reason)


class ReadError(TransportError):
    """A request that brought no registers: TIMEOUT, CLOSED, INVALID_REPLY or EXCEPTION."""


class ExceptionReplyError(ReadError):
    """The unit, or the gateway for it, replied with a Modbus exception; the transport can be used further."""

    def __init__(self, reason: str, exception_code: int) -> None:
        super().__init__(FailureKind.EXCEPTION, reason, exception_code)


class Transport(Protocol):
    """A link to one gateway, for one request at a time; to be opened once, and closed.

    After any failure but an exception reply it is closed: a late reply must not be mistaken for the next one.
    """

    @property
    def name(self) -> str:
        """What it is called in messages, such as `tcp 10.0.0.5:502`."""

    @property
    def is_open(self) -> bool:
        """Whether a request can be sent: it was opened, and neither end has closed it since."""

    async def open(self, timeout_s: float) -> None:
        """Opens the link within `timeout_s` seconds.

        Raises:
            ConnectError: With the operating system's reason.
        """

    async def exchange(self, unit_id: int, request: Request, timeout_s: float) -> bytes:
        """Sends a request and waits up to `timeout_s` seconds for its reply.

        Returns:
            The data as on the wire, `request.reply_size` bytes: registers, the high byte first, or bits.

        Raises:
            ReadError: There is no reply, or none to this request.
        """

    def close(self) -> None:
        """Closes the link, at once. Closing it twice is no error."""


class Framing(Protocol):
    """How requests and replies are written as bytes. It keeps nothing of an exchange, so that links may share one."""

    def build(self, unit_id: int, request: Request) -> bytes:
        """Returns the frame of a request."""

    def parse(self, sent: bytes, received: bytes, size: int) -> bytes | None:
        """Returns the data that a reply brings; None while it may become one with further bytes.

        Args:
            sent: The frame of the request.
            received: All bytes that were received since.
            size: How many bytes of data the reply brings, `Request.reply_size`.

        Raises:
            ExceptionReplyError: It is an exception reply.
            ReadError: INVALID_REPLY: these bytes do not begin a reply to this request.
        """
