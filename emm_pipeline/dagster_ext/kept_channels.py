"""Keep the connections of the daemon and the webserver to the code server.

Dagster opens a gRPC channel for each call, and both call the code server once a second to see whether it was restarted.
A call over a kept channel takes half of the CPU time. Dagster's clients of code servers are used by several threads.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Lock
from typing import Any, NamedTuple

from emm_pipeline.dagster_ext.internals import wrap_channel

_KEPT = "emm_kept_channel"
"""Attribute of a client. A weak dictionary would keep the client, because Dagster's context manager refers to it."""


class Kept(NamedTuple):
    """A channel, and the context manager that closes it when nothing refers to it any more."""

    channel: Any
    manager: AbstractContextManager[Any]


class KeptChannels:
    """One channel per client, until a call over it fails; the next call then opens a new one, as Dagster does."""

    def __init__(self) -> None:
        self._lock = Lock()

    @contextmanager
    def channel(self, client: Any, opening: Callable[[], AbstractContextManager[Any]]) -> Iterator[Any]:
        """Return a context with the client's channel.

        Args:
            client: Dagster's client.
            opening: returns a context with a new channel, which is closed at its end.
        """
        kept = self._of(client, opening)
        try:
            yield kept.channel
        except BaseException:
            # Not closed here: other threads may wait for a reply over the same channel.
            with self._lock:
                if vars(client).get(_KEPT) is kept:
                    del vars(client)[_KEPT]
            raise

    def _of(self, client: Any, opening: Callable[[], AbstractContextManager[Any]]) -> Kept:
        with self._lock:
            kept: Kept | None = vars(client).get(_KEPT)
            if kept is None:
                manager = opening()
                kept = vars(client)[_KEPT] = Kept(manager.__enter__(), manager)  # ends with its last user
            return kept


def keep_channels() -> None:
    """Keep the channels of all clients of this process."""
    wrap_channel(KeptChannels().channel)
