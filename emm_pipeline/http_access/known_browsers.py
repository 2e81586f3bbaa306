"""Recognize browsers that have logged in before by a cookie.

Their failed logins are counted separately, so that wrong guesses of others with the same address (a proxy, a router)
cannot lock them out. The cookie does not replace the login.
See https://owasp.org/www-community/Slow_Down_Online_Guessing_Attacks_with_Device_Cookies
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING

from emm_pipeline.http_access.asgi import header

if TYPE_CHECKING:
    from emm_pipeline.http_access.asgi import Scope

COOKIE = "emm_browser"
_LIFETIME_S = 400 * 24 * 3600
"""The longest lifetime (s) of a cookie in browsers."""


class KnownBrowsers:
    """Signs and checks cookies with a key of this process; after a restart no browser is known.

    Args:
        cookie: the cookie's name. Servers on other ports of a host receive it as well, so each has its own.
    """

    def __init__(self, cookie: str = COOKIE) -> None:
        self._cookie = cookie
        self._key = secrets.token_bytes(32)

    def find(self, scope: Scope, login: tuple[str, str]) -> str | None:
        """Return the id of the browser that sent a request; None if it has not logged in with this login."""
        for part in header(scope, b"cookie").replace(",", ";").split(";"):
            name, _, value = part.strip().partition("=")
            id_, _, signature = value.partition(".")
            if name == self._cookie and hmac.compare_digest(self._sign(id_, login).encode(), signature.encode()):
                return id_
        return None

    def new_cookie(self, login: tuple[str, str]) -> tuple[bytes, bytes]:
        """Return the header that makes the browser known until the login changes."""
        id_ = secrets.token_urlsafe(16)
        attributes = f"Path=/; Max-Age={_LIFETIME_S}; HttpOnly; SameSite=Strict"
        return b"set-cookie", f"{self._cookie}={id_}.{self._sign(id_, login)}; {attributes}".encode()

    def _sign(self, id_: str, login: tuple[str, str]) -> str:
        # A cookie from before a change of the password is not valid, and gives no additional guesses.
        text = "\0".join((id_, *login))
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()
