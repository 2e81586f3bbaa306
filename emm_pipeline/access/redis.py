"""Change Redis' password while it runs."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from emm_pipeline.errors import ConfigurationError, EmmError

if TYPE_CHECKING:
    from collections.abc import Iterable

_TIMEOUT_S = 5.0


def set_password(host: str, port: int, known: Iterable[str], new: str) -> None:
    """Let Redis ask for `new` from now on; connections that are open stay so.

    Args:
        host: where Redis is.
        port: where Redis is.
        known: passwords of which it may have one, the likeliest first.
        new: without line breaks.

    Raises:
        ConfigurationError: it accepts none of the known ones.
        EmmError: it does not answer, or does not let its password be changed. No error contains a password.
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
                    "has as REDIS_PASSWORD in config/.env, or restart it: docker compose --profile celery restart redis"
                )
            if not command("CONFIG", "SET", "requirepass", new).startswith(b"+OK"):
                raise EmmError(f"{where} does not let its password be changed; nothing was changed")
    except OSError as err:
        raise EmmError(f"{where} does not answer: {err}; is it running (--profile celery)?") from None
