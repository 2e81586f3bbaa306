"""The session with PostgreSQL to which the locks of gateways belong: advisory locks, which end with it.

The server frees the locks of a process that died. The connection must therefore go directly to the server, not through
a pooler that shares sessions.
"""

from __future__ import annotations

import hashlib
import threading
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

from sqlalchemy import text

from emm_pipeline.config_db.engine import database_errors
from emm_pipeline.config_db.gateway_wishes import LISTEN, Wishes, wait_for_wishes
from emm_pipeline.errors import ConfigDatabaseError

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection, Engine

# If the host of a run crashes, TCP keepalive ends its session and frees its locks after a minute instead of two hours.
_SESSION = """
    SELECT set_config('application_name', 'emm gateway locks', false), set_config('tcp_keepalives_idle', '30', false),
        set_config('tcp_keepalives_interval', '10', false), set_config('tcp_keepalives_count', '3', false)
"""
_LOCK = text("SELECT key, pg_try_advisory_lock(key) FROM unnest(CAST(:keys AS bigint[])) AS key")
_UNLOCK = text("SELECT pg_advisory_unlock(key) FROM unnest(CAST(:keys AS bigint[])) AS key")


@cache
def lock_key(address: str) -> int:
    """Return the key of PostgreSQL's advisory lock for a gateway `host:port`: 64 bits, signed."""
    digest = hashlib.blake2b(f"emm gateway {address}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)


class LockSession:
    """A session that is opened by the first statement. The methods may be called in any thread, one after the other."""

    def __init__(self, engine: Engine, *, listens: bool) -> None:
        """`listens`: whether the session receives which gateways other processes want."""
        self._engine = engine
        self._listens = listens
        self._connection: Connection | None = None
        self._executing = threading.Lock()
        """The statement of a thread that nothing waits for any more may still be executed."""
        self._wishes = Wishes()

    @property
    def was_opened(self) -> bool:
        """Whether there was a statement."""
        return self._connection is not None

    def execute(self, wanted: Sequence[str], unwanted: Sequence[str]) -> set[str]:
        """Unlock and lock gateways; return the addresses that were locked.

        Raises:
            ConfigDatabaseError: PostgreSQL cannot be reached, or refuses.
        """
        with self._executing, database_errors(self._engine):
            if self._connection is None:
                self._connection = self._open()
            if unwanted:
                self._connection.execute(_UNLOCK, {"keys": [lock_key(address) for address in unwanted]})
            if not wanted:
                return set()
            keys = {lock_key(address): address for address in wanted}
            rows = self._connection.execute(_LOCK, {"keys": list(keys)})
            locked = {keys[key] for key, is_locked in rows if is_locked}
            self._wishes.send(self._connection, {each: key for key, each in keys.items() if each not in locked})
            return locked

    def check(self) -> None:
        """Ask PostgreSQL whether the session, and so its locks, still exist.

        Raises:
            ConfigDatabaseError: It does not, or PostgreSQL cannot be reached.
        """
        with self._executing, database_errors(self._engine):
            if self._connection is not None:
                self._connection.exec_driver_sql("SELECT")

    def wait_until_wanted(self, addresses: Iterable[str], until: float, interrupted: socket.socket) -> set[str]:
        """Wait until another process wants some of the gateways; return these. See `wait_for_wishes`.

        Raises:
            ConfigDatabaseError: The session has ended.
            psycopg2.Error: The same.
        """
        with database_errors(self._engine):
            if self._connection is None:
                raise ConfigDatabaseError("no session was opened")
            keys = {lock_key(address): address for address in addresses}
            return wait_for_wishes(self._connection, keys, until, interrupted)

    def end(self) -> None:
        """End the session before this returns."""
        with suppress(ConfigDatabaseError), self._executing, database_errors(self._engine):
            if self._connection is not None:
                self._connection.close()

    def _open(self) -> Connection:
        connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        connection.detach()  # closing it ends the session
        connection.exec_driver_sql(_SESSION)
        if self._listens:
            connection.exec_driver_sql(LISTEN)
        return connection
