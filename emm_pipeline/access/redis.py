"""Change Redis' password while it runs."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from emm_pipeline.errors import ConfigurationError, EmmError

if TYPE_CHECKING:
    from collections.abc import Iterable

_TIMEOUT_S = 5.0


def set_password(host: str, port: int, known: Iterable[str], new: str) -> None:
    """Change Redis' password to `new`; open connections stay open.

    Args:
        host: Redis' host.
        port: Redis' port.
        known: passwords that Redis may have, the most likely one first.
        new: the new password, without line breaks.

    Raises:
        ConfigurationError: Redis accepts none of the known passwords.
        EmmError: Redis does not answer, or does not allow its password to be changed. No error contains a password.
    """
    where = f"Redis at {host}:{port}"
    try:
        with socket.create_connection((host, port), _TIMEOUT_S) as connection, connection.makefile("rb") as replies:

            def command(*words: str) -> bytes:
                parts = [word.encode() for word in words]
                text = b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
                connection.sendall(text)
                return replies.readline()

            if not any(command("AUTH", password).startswith(b"+OK") for password in known):
                raise ConfigurationError(
                    f"{where} accepts no password that the stack knows, so nothing was changed: set the one that it "
                    "has as REDIS_PASSWORD in config/.env, or restart it: docker compose restart redis"
                )
            if not command("CONFIG", "SET", "requirepass", new).startswith(b"+OK"):
                raise EmmError(f"{where} does not let its password be changed; nothing was changed")
    except OSError as err:
        raise EmmError(f"{where} does not answer: {err}; is it running (COMPOSE_PROFILES=celery)?") from None
