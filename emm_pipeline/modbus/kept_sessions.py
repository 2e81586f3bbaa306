"""Sessions whose connections stay open from one fleet reading of a run to the next.

Opening a connection costs as much as reading a meter over it. While a connection is kept, its gateway stays locked,
because many gateways accept only one connection; another process that wants the gateway gets it at once (see
`polling/open_gateways.py`).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection

    from emm_pipeline.fleet import GatewayAddress
    from emm_pipeline.modbus.session import Session

SETTLE_S = 0.001
"""Time in seconds that the event loop needs at most to receive what arrived while it did not run."""


def may_stay_open(session: Session, settings: Collection[bool | None], *, by_default: bool) -> bool:
    """Whether the connection may stay open until the next reading.

    Without ids, a copy of a reply that arrives late may be taken for the reply to a later request, so the type must
    say it.

    Args:
        session: The session after a reading.
        settings: `keep_connection` of the types that are read over it.
        by_default: Whether the connection is kept if these do not say it.
    """
    if not session.can_be_kept or False in settings:
        return False
    return True in settings or (by_default and session.has_ids)


class KeptSession(NamedTuple):
    """An open session, and the names under which its gateway is locked."""

    session: Session
    names: tuple[str, ...]


class KeptSessions:
    """The open sessions between two readings. Both use the same event loop.

    `next_is_near`: Whether the next reading follows soon, so that a connection is kept unless the type forbids it.
    """

    def __init__(self) -> None:
        self.next_is_near = False
        self._kept: dict[GatewayAddress, KeptSession] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def gateways(self) -> Collection[GatewayAddress]:
        """Return the gateways of the sessions."""
        return self._kept.keys()

    def connections(self) -> int:
        """Return the number of connections, without those that the gateways have closed."""
        return sum(kept.session.can_be_kept for kept in self._kept.values())

    def names_of(self, gateway: GatewayAddress) -> tuple[str, ...]:
        """Return the names under which a gateway is locked; none if no session with it is kept."""
        kept = self._kept.get(gateway)
        return kept.names if kept else ()

    async def settle(self) -> None:
        """Receive what arrived between the readings: the end of a connection, or bytes that are not a reply."""
        if self._kept:
            await asyncio.sleep(SETTLE_S)

    def keep(self, session: Session, names: tuple[str, ...]) -> None:
        """Keep a session for the next reading."""
        self._kept[session.gateway] = KeptSession(session, names)

    def take(self, gateway: GatewayAddress) -> KeptSession | None:
        """Return the session with a gateway, which the caller closes or keeps again."""
        return self._kept.pop(gateway, None)

    def close(self, names: Collection[str] | None = None) -> list[str]:
        """Close the sessions whose gateways are locked under one of the names; all if there are no names.

        Returns:
            The names that need no lock any more.
        """
        wanted = None if names is None else frozenset(names)
        return self._close(
            [gateway for gateway, kept in self._kept.items() if wanted is None or wanted & {*kept.names}]
        )

    def close_others(self, gateways: Collection[GatewayAddress]) -> list[str]:
        """Close the sessions with all gateways but these; return the names that need no lock any more."""
        return self._close(self._kept.keys() - gateways)

    def _close(self, gateways: Collection[GatewayAddress]) -> list[str]:
        closed = [self._kept.pop(gateway) for gateway in gateways]
        for kept in closed:
            kept.session.close()
        return [name for kept in closed for name in kept.names]
