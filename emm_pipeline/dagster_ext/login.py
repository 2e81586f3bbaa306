"""The login that the guard asks for (HTTP Basic), and the limit on failed ones."""

from __future__ import annotations

import base64
import binascii
import hmac
import logging
from typing import TYPE_CHECKING

from emm_pipeline.dagster_ext.asgi import RefusedError, header, peer
from emm_pipeline.dagster_ext.failed_logins import FailedLogins, network_of
from emm_pipeline.dagster_ext.known_browsers import KnownBrowsers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from emm_pipeline.dagster_ext.asgi import Headers, Scope

_UNAUTHORIZED, _TOO_MANY = 401, 429
_ASK = (b"www-authenticate", b'Basic realm="EMM", charset="UTF-8"')
_log = logging.getLogger(__name__)


class Login:
    """Lets requests with the right user and password through.

    Failed logins are counted by who sent them: a browser that has logged in before counts by itself; others count by
    their address, and there the one account that exists apart from names that do not. Who is over the limit is not
    listened to, with the right password neither; no other client is affected.

    Args:
        wanted: returns the user and the password, as they are now.
        client_of: returns the address of who sent a request; default: the address of the connection.
    """

    def __init__(
        self,
        wanted: Callable[[], tuple[str, str]],
        client_of: Callable[[Scope], Awaitable[str]] | None = None,
    ) -> None:
        self._wanted = wanted
        self._client_of = client_of or _peer
        self._failed = FailedLogins()
        self._browsers = KnownBrowsers()

    async def check(self, scope: Scope) -> Headers:
        """Return further headers for the reply to a request that has the login.

        Raises:
            RefusedError: it has not, or its sender has failed too often.
        """
        authorization = header(scope, b"authorization")
        if not authorization:
            raise RefusedError(_UNAUTHORIZED, "log in as DAGSTER_LOGIN_USER with DAGSTER_LOGIN_PASSWORD", _ASK)
        given, wanted = _credentials(authorization), self._wanted()
        client, browser = await self._client_of(scope), self._browsers.find(scope, wanted)
        account = hmac.compare_digest(given[0].encode(), wanted[0].encode())
        counted_as = f"browser {browser}" if browser else f"{network_of(client)} {account}"
        if wait_s := self._failed.wait_s(counted_as):
            raise RefusedError(
                _TOO_MANY, f"too many failed logins; try again in {wait_s} s", (b"retry-after", b"%d" % wait_s)
            )
        # Compared also where the user is wrong, so that the time tells nothing about either.
        password = hmac.compare_digest(given[1].encode(), wanted[1].encode())
        if account and password and wanted[1]:
            # What others have failed at from this address goes on to count.
            return () if browser else (self._browsers.new_cookie(wanted),)
        count = self._failed.add(counted_as)
        _log.warning("failed login as %r from %s (%d within a minute)", given[0][:50], client, count)
        raise RefusedError(_UNAUTHORIZED, "wrong user or password", _ASK)


async def _peer(scope: Scope) -> str:
    return peer(scope)


def _credentials(authorization: str) -> tuple[str, str]:
    scheme, _, value = authorization.partition(" ")
    try:
        text = base64.b64decode(value.strip(), validate=True).decode() if scheme.lower() == "basic" else ""
    except (binascii.Error, UnicodeDecodeError):
        text = ""
    user, _, password = text.partition(":")
    return user, password
