"""The login (HTTP Basic) that the guard requires, and the limit of failed logins."""

from __future__ import annotations

import base64
import binascii
import hmac
import logging
from typing import TYPE_CHECKING

from emm_pipeline.http_access.asgi import RefusedError, header, peer
from emm_pipeline.http_access.failed_logins import FailedLogins, network_of
from emm_pipeline.http_access.known_browsers import KnownBrowsers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from emm_pipeline.http_access.asgi import Headers, Scope

_UNAUTHORIZED, _TOO_MANY = 401, 429
_ASK = (b"www-authenticate", b'Basic realm="EMM", charset="UTF-8"')
_log = logging.getLogger(__name__)


class Login:
    """Accepts requests with the right user and password.

    Failed logins are counted by sender: a browser that has logged in before is counted separately; others are counted
    by address, separately for the existing account and for names that do not exist. Logins of a sender over the limit
    are refused, even with the right password; no other client is affected.

    Args:
        wanted: returns the present user and password.
        client_of: returns the address of a request's client; default: the address of the connection.
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
            RefusedError: the login is missing or wrong, or its sender has failed too often.
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
        # Both are always compared, so that the time of the reply does not reveal which one is wrong.
        password = hmac.compare_digest(given[1].encode(), wanted[1].encode())
        if account and password and wanted[1]:
            # Failed logins of others with this address continue to count.
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
