"""Interfaces of transports and framings, and the errors that they raise (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from emm_pipeline.errors import TransientError
from emm_pipeline.readings import FailureKind

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from emm_pipeline.modbus.transport.history import ReplyHistory
    from emm_pipeline.modbus.transport.lateness import LateReplies
    from emm_pipeline.readings import Request


class TransportError(TransientError):
    """A failure of communication with a unit: its kind, and a reason without gateway, unit and registers.

    `advice` says what to do, if the cause is known more precisely than from the kind of failure.
    """

    def __init__(
        self, kind: FailureKind, reason: str, exception_code: int | None = None, *, advice: str | None = None
    ) -> None:
        super().__init__(reason)
        self.kind = kind
        self.exception_code = exception_code
        self.advice = advice


class ConnectError(TransportError):
    """The gateway cannot be reached."""

    def __init__(self, reason: str, *, advice: str | None = None) -> None:
        super().__init__(FailureKind.REFUSED, reason, advice=advice)


class ReadError(TransportError):
    """A request failed without registers: TIMEOUT, CLOSED, INVALID_REPLY or EXCEPTION; REFUSED over UDP."""


class ResendError(ReadError):
    """A request failed, but may succeed if it is sent again over a newly opened link."""


class ExceptionReplyError(ReadError):
    """The unit, or the gateway for it, replied with a Modbus exception; the transport stays usable."""

    def __init__(self, reason: str, exception_code: int) -> None:
        super().__init__(FailureKind.EXCEPTION, reason, exception_code)


class FramedReply(NamedTuple):
    """A reply, found among the bytes that were received.

    `registers` are two bytes each; an exception reply has an `exception_code` in their place. `frame` are the bytes of
    the reply, `rest` are the bytes that were received after it. `notices` describe anything unusual about it.
    """

    registers: bytes
    exception_code: int | None
    frame: bytes
    rest: bytes = b""
    notices: tuple[str, ...] = ()
    is_certain: bool = True
    """If false, the reply is used only if no better one follows within a moment."""
    has_id: bool = True
    """Whether it has the transaction id of the request, so that it cannot belong to another one."""
    taints_link: bool = False
    """Whether it came with unknown bytes, so that later bytes on this link cannot be understood either."""


Exchange: TypeAlias = "asyncio.Future[FramedReply]"
"""An exchange whose request was sent. It is done when the reply has arrived, or cannot arrive any more."""


class Transport(Protocol):
    """A link to one gateway, for one request at a time. It may be opened again after it was closed.

    After any failure except an exception reply it is closed, so that a late reply cannot be mistaken for the next one;
    but not after a timeout while it listens for late replies (`late`).
    """

    notices: list[str]
    """Notices about unusual replies that were accepted, a line each; the reader of the list empties it."""

    was_resent: bool
    """Whether the last request was sent once more, because no reply came to it."""

    @property
    def late(self) -> LateReplies:
        """The replies that came after their timeouts, if it listens for them."""

    @property
    def name(self) -> str:
        """Name for messages, such as `tcp 10.0.0.5:502`."""

    @property
    def is_open(self) -> bool:
        """Whether a request can be sent: the link was opened, and neither end has closed it."""

    @property
    def can_be_kept(self) -> bool:
        """Whether the link may stay open until later requests: it is open, and nothing is left of earlier replies."""

    @property
    def has_ids(self) -> bool:
        """Whether a reply shows to which request it belongs."""

    async def open(self, timeout_s: float) -> None:
        """Open the link within `timeout_s` seconds.

        Raises:
            ConnectError: With the operating system's reason.
        """

    async def exchange(
        self,
        unit_id: int,
        request: Request,
        timeout_s: float,
        on_send: Callable[[], None] = lambda: None,
        *,
        resend_after_s: float | None = None,
    ) -> bytes:
        """Send a request and wait up to `timeout_s` seconds for its reply.

        If the reply cannot be told from a late one to an earlier request, the request is repeated until it is certain.

        Args:
            unit_id: The unit that is to reply.
            request: What to read.
            timeout_s: How long to wait.
            on_send: Called each time that the request is sent.
            resend_after_s: If given, a request without a reply for so long is sent once more over the same link.

        Returns:
            The data as received, `request.reply_size` bytes: registers, the high byte first, or bits.

        Raises:
            ReadError: There is no reply to this request.
        """

    def start(
        self,
        unit_id: int,
        request: Request,
        timeout_s: float,
        on_send: Callable[[], None],
        *,
        resend_after_s: float | None = None,
    ) -> Exchange | None:
        """Send a request as `exchange` does, without waiting, if no late reply can be mistaken for its reply.

        When the exchange is done, `take` must be called, and `finish` if that returns None.

        Returns:
            The exchange that was started; None if nothing was sent.
        """

    def take(self, started: Exchange) -> bytes | None:
        """Return the data of the reply to a request that `start` has sent; None if it brought none for certain."""

    async def finish(self, started: Exchange) -> bytes:
        """Wait for the reply to a request that `start` has sent; see `exchange`."""

    def may_confuse(self, unit_id: int, request: Request) -> bool:
        """Whether the reply could not be told from a late one to an earlier request, so that it must be verified."""

    def close(self) -> None:
        """Close the link immediately. It may be closed twice."""


class Framing(Protocol):
    """The format of requests and replies as bytes."""

    silent_s: float
    """Seconds for which a link must be silent before a request; bytes before that are not its reply. 0: no silence."""
    has_ids: bool
    """Whether a reply has the transaction id of its request."""

    def build(self, unit_id: int, request: Request) -> bytes:
        """Return the frame of a request."""

    def parse(self, sent: bytes, received: bytes, history: ReplyHistory) -> FramedReply | ReadError | None:
        """Find the reply to a request.

        Args:
            sent: The frame of the request.
            received: All bytes that were received since, or before it over the same link.
            history: What the gateway sent before. It is updated from these bytes.

        Returns:
            The reply; None if further bytes may complete it; an error if that is unlikely, so that the caller should
            wait only briefly for further bytes.

        Raises:
            ReadError: INVALID_REPLY: these bytes do not begin a reply to this request.
        """

    def strip(self, sent: bytes, received: bytes, history: ReplyHistory) -> tuple[bytes, tuple[str, ...]]:
        """Drop what precedes the reply and is known: an echo of the request, and late replies to earlier requests.

        Args:
            sent: The frame of the request; empty between two requests.
            received: All bytes that were received since, or before it over the same link.
            history: Which requests have no reply yet. It is updated.

        Returns:
            The bytes that are left, and notices about the others.
        """

    def explain(self, received: bytes) -> ReadError | None:
        """Return an error that explains bytes which never became a reply; None if they are unknown."""
