"""The state that the handlers of requests share: settings, database, sessions, latest values, status, templates."""

from __future__ import annotations

import re
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

from emm_pipeline.http_access.forwarded import ForwardedClient
from emm_pipeline.http_access.origins import names_in
from emm_pipeline.opening import open_config_database
from emm_pipeline.stores.outbox.copies import WEB_FOLDER, BatchCopies
from emm_pipeline.web.live.fleet import FleetView, fleet_view
from emm_pipeline.web.live.follower import Follower
from emm_pipeline.web.live.latest import LatestValues
from emm_pipeline.web.scans import Scans
from emm_pipeline.web.security.accounts import Accounts
from emm_pipeline.web.security.callers import Callers
from emm_pipeline.web.security.logins import Logins
from emm_pipeline.web.security.sessions import Sessions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Engine
    from starlette.requests import Request

    from emm_pipeline.settings import Settings

_ID = re.compile(r"-?[0-9]{1,10}", re.ASCII)
_NOT_FOUND = 404


@dataclass
class Site:
    """The state of one server of pages.

    `settings` returns the present settings. `needs_login` is false only on loopback, in the demo.
    """

    settings: Callable[[], Settings]
    engine: Engine
    fleet: FleetView
    follower: Follower
    needs_login: bool
    latest: LatestValues = field(default_factory=LatestValues)
    sessions: Sessions = field(default_factory=Sessions)

    def __post_init__(self) -> None:
        self.accounts = Accounts(self.engine, self._first_login)
        self.callers = Callers(self.engine, self.sessions, self.accounts if self.needs_login else None)
        self.clients = ForwardedClient(names_in(self.settings().emm_trusted_proxies))
        self.logins = Logins(self.accounts)
        self.scans = Scans(self.engine)

    def _first_login(self) -> tuple[str, str]:
        settings = self.settings()
        return settings.web_login_user, settings.web_login_password.get_secret_value()


def site_of(request: Request) -> Site:
    """Return the site of the server that handles a request."""
    site: Site = request.app.state.site
    return site


def meter_id_of(request: Request) -> int:
    """Return the meter's id in a request's path.

    Raises:
        HTTPException: It is not a number.
    """
    text = request.path_params["id"]
    if not _ID.fullmatch(text):
        raise HTTPException(_NOT_FOUND)
    return int(text)


@contextmanager
def open_site(settings: Callable[[], Settings], *, needs_login: bool) -> Iterator[Site]:
    """Open the database, and take the values of polls until the end."""
    now = settings()
    with ExitStack() as stack:
        engine = stack.enter_context(open_config_database(now))
        latest = LatestValues()
        follower = Follower(BatchCopies(now.outbox_folder, WEB_FOLDER), latest.add)
        site = Site(settings, engine, fleet_view(settings), follower, needs_login, latest)
        follower.start()
        stack.callback(follower.stop)
        stack.callback(site.scans.cancel_all)
        yield site
