"""Change Redis' password while it runs."""

from __future__ import annotations

import socket

from emm_pipeline.errors import EmmError

_TIMEOUT_S = 5.0


def set_password(host: str, port: int, old: str, new: str) -> None:
    """Change Redis' password to `new`; open connections stay open.

    Raises:
        EmmError: Redis does not answer, or accepts neither `old` nor `new`. No error contains a password.
    """
    where = f"Redis at {host}:{port}"
    try:
        with socket.create_connection((host, port), _TIMEOUT_S) as connection, connection.makefile("rb") as replies:

            def command(*words: str) -> bytes:
                parts = [word.encode() for word in words]
                text = b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
                connection.sendall(text)
                return replies.readline()

            if command("AUTH", new).startswith(b"+OK"):
                return
            if not command("AUTH", old).startswith(b"+OK"):
                raise EmmError(f"{where} does not accept the password that the stack knows; set REDIS_PASSWORD")
            if not command("CONFIG", "SET", "requirepass", new).startswith(b"+OK"):
                raise EmmError(f"{where} does not let its password be changed")
    except OSError as err:
        raise EmmError(f"{where} does not answer: {err}; is it running (--profile celery)?") from None
