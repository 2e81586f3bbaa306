"""Wishes for gateways that another process keeps locked between its readings: notifications of PostgreSQL."""

from __future__ import annotations

import select
import time
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from sqlalchemy import Connection

_WISH = text("SELECT pg_notify('emm_wanted_gateways', CAST(key AS text)) FROM unnest(CAST(:keys AS bigint[])) AS key")
LISTEN = "LISTEN emm_wanted_gateways"

REPEATED_AFTER_S = 1.0
"""Seconds until the wish for a gateway is repeated."""


class Wishes:
    """The wishes of one session."""

    def __init__(self) -> None:
        self._sent_at: dict[str, float] = {}

    def send(self, connection: Connection, keys: Mapping[str, int]) -> None:
        """Tell the processes that have locked these gateways that we want them; `keys` are the locks' by address."""
        now = time.monotonic()
        due = [address for address in keys if self._sent_at.get(address, float("-inf")) < now - REPEATED_AFTER_S]
        if due:
            connection.execute(_WISH, {"keys": [keys[address] for address in due]})
            self._sent_at |= dict.fromkeys(due, now)


def wait_for_wishes(
    connection: Connection, addresses: Mapping[int, str], until: float, interrupted: socket.socket
) -> set[str]:
    """Wait until another session wants one of our gateways, or has wanted it since the last wait.

    It uses poll(2), because select(2) fails for descriptors from 1024 on, which a process has that keeps a thousand
    connections.

    Args:
        connection: Our session, which listens.
        addresses: Our gateways by the key of their lock.
        until: The end of the wait, on the clock of `time.monotonic`.
        interrupted: The wait ends when it can be read.

    Returns:
        The addresses that are wanted; none at the end of the wait.

    Raises:
        psycopg2.Error: The session has ended.
    """
    # Of a detached connection, SQLAlchemy no longer knows the `driver_connection`.
    driver: Any = connection.connection.dbapi_connection
    ready = select.poll()
    for each in (driver, interrupted):
        ready.register(each, select.POLLIN)
    while True:
        driver.poll()
        others = [notify for notify in driver.notifies if notify.pid != driver.info.backend_pid]
        driver.notifies.clear()
        if wanted := {addresses[key] for notify in others if (key := int(notify.payload)) in addresses}:
            return wanted
        left_s = until - time.monotonic()
        if left_s <= 0 or any(number == interrupted.fileno() for number, _ in ready.poll(left_s * 1000)):
            return set()
