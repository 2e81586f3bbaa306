"""Log in with a password; after too many wrong ones, the logins of that client are refused for a minute."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from emm_pipeline.event_loop import in_thread
from emm_pipeline.http_access.asgi import RefusedError
from emm_pipeline.http_access.failed_logins import FailedLogins, network_of
from emm_pipeline.http_access.known_browsers import KnownBrowsers
from emm_pipeline.web.security.callers import UNAUTHORIZED

if TYPE_CHECKING:
    from emm_pipeline.http_access.asgi import Scope
    from emm_pipeline.web.security.accounts import Account, Accounts

BROWSER_COOKIE = "emm_web_browser"
_TOO_MANY = 429
_log = logging.getLogger(__name__)


class Logins:
    """Checks logins and counts those that fail: by browser if it has logged in before, else by network."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._failed = FailedLogins()
        self._browsers = KnownBrowsers(BROWSER_COOKIE)

    async def log_in(self, scope: Scope, client: str, name: str, password: str) -> tuple[Account, tuple[bytes, bytes]]:
        """Return the account, and the header with the cookie by which the browser is known from now on.

        Raises:
            RefusedError: The name or the password is wrong, or the client has failed too often.
            ConfigDatabaseError: The database cannot be read.
        """
        browser = self._browsers.find(scope, (name, ""))
        counted_as = f"browser {browser}" if browser else network_of(client)
        if wait_s := self._failed.wait_s(counted_as):
            reason = f"too many failed logins; try again in {wait_s} s"
            raise RefusedError(_TOO_MANY, reason, (b"retry-after", b"%d" % wait_s))
        # Counted before the check, so that simultaneous guesses are counted, too.
        count = self._failed.add(counted_as)
        account = await in_thread(lambda: self._accounts.check(name, password), "login")
        if account is None:
            _log.warning("failed login as %r from %s (%d within a minute)", name[:50], client, count)
            raise RefusedError(UNAUTHORIZED, "wrong user or password")
        self._failed.take_back(counted_as)
        return account, self._browsers.new_cookie((name, ""))
