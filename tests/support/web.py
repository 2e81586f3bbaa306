"""A real web page on a real socket, with a database of its own, and a client that sends requests as browsers do."""

from __future__ import annotations

import http.client
import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
import uvicorn
from sqlalchemy import Engine, text
from support.ports import free_port
from support.postgres import create_database

from emm_pipeline.config_db.engine import create_config_engine
from emm_pipeline.settings import Settings
from emm_pipeline.stores.outbox.copies import WEB_FOLDER, BatchCopies
from emm_pipeline.web.app import build_app
from emm_pipeline.web.site import Site, open_site

if TYPE_CHECKING:
    from pathlib import Path

PASSWORD = "correct horse battery staple"
REGISTERS = """
    INSERT INTO registers (type, register_address, measurement_name, data_unit, data_type, function_code,
                           word_order, byte_order) VALUES
      ('sdm630', 0, 'voltageL1', 'V', 3, 4, 2, 2),
      ('sdm630', 2, 'voltageL2', 'V', 3, 4, 2, 2),
      ('sdm630', 52, 'activePower', 'W', 3, 4, 2, 2),
      ('sdm630', 72, 'activeEnergyImport', 'kWh', 3, 4, 2, 2)
"""
_CSRF = re.compile(r'name="csrf" value="([^"]+)"')


class Reply:
    """A reply: status, headers (lower case), and text."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.status = answer.status
        self.headers = {name.lower(): value for name, value in answer.getheaders()}
        self.cookies = [value for name, value in answer.getheaders() if name.lower() == "set-cookie"]
        self.body = answer.read()

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Browser:
    """Sends requests with its cookies; `host` is the host name under which it opens the page."""

    def __init__(self, port: int, host: str | None = None) -> None:
        self.port = port
        self.host = host or f"127.0.0.1:{port}"
        self.cookies: dict[str, str] = {}

    def ask(self, method: str, path: str, body: bytes | str | None = None, **headers: str) -> Reply:
        named = {"Host": self.host} | {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookies and "cookie" not in {name.lower() for name in named}:
            named["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path, body.encode() if isinstance(body, str) else body, named)
        reply = Reply(connection.getresponse())
        connection.close()
        for cookie in reply.cookies:
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies.pop(name, None)
            if value:
                self.cookies[name] = value
        return reply

    def get(self, path: str, **headers: str) -> Reply:
        return self.ask("GET", path, **headers)

    def csrf(self, path: str = "/pipeline") -> str:
        """Return the CSRF token of a page's form."""
        return (_CSRF.search(self.get("/add").text) or _CSRF.search(self.get(path).text))[1]

    def post(self, path: str, fields: Mapping[str, str] | list[tuple[str, str]] = (), **headers: str) -> Reply:
        """Send a form as the page's own script does."""
        named = {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"http://{self.host}"} | headers
        return self.ask(
            "POST", path, urlencode(list(dict(fields).items() if isinstance(fields, dict) else fields)), **named
        )

    def submit(self, path: str, fields: Mapping[str, str] | list[tuple[str, str]] = ()) -> Reply:
        """Open a page with a form, and send a form with its CSRF token."""
        items = list(fields.items()) if isinstance(fields, Mapping) else list(fields)
        return self.post(path, [("csrf", self.csrf()), *items])

    def log_in(self, password: str = PASSWORD, name: str = "admin", **headers: str) -> Reply:
        return self.post("/login", {"name": name, "password": password, "next": "/"}, **headers)


class WebServer:
    """A running page."""

    def __init__(self, site: Site, engine: Engine, port: int, copies: BatchCopies) -> None:
        self.site, self.engine, self.port, self.copies = site, engine, port, copies

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def browser(self, host: str | None = None) -> Browser:
        return Browser(self.port, host)

    def logged_in(self) -> Browser:
        browser = self.browser()
        assert browser.log_in().status == 303
        return browser

    def sql(self, statement: str, **values: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(statement), values)
        self.site.fleet.forget()

    def changes(self) -> list[dict[str, Any]]:
        with self.engine.connect() as connection:
            return [dict(row) for row in connection.execute(text("SELECT * FROM web_changes ORDER BY id")).mappings()]

    def add_meter(self, id_: int, description: str | None = None, port: int = 502, type_: str = "sdm630") -> None:
        self.sql(
            "INSERT INTO energy_meters VALUES (:id, '127.0.0.1', :port, 1, :type, :description)",
            id=id_,
            port=port,
            type=type_,
            description=description,
        )


@contextmanager
def web_server(postgres, template: str, folder: Path, *, needs_login: bool, **further: Any) -> Iterator[WebServer]:
    """Serve a page of a new database until the end."""
    url = create_database(postgres, template)
    engine = create_config_engine(url)
    with engine.begin() as connection:
        connection.execute(text(REGISTERS))
    settings = Settings(
        postgres_host=str(postgres.socket_dir),
        postgres_user="postgres",
        postgres_db=str(url.database),
        readings_store="postgresql",
        outbox_dir=folder / "outbox",
        **{"web_login_password": PASSWORD, **further},
    )
    port = free_port()
    with open_site(lambda: settings, needs_login=needs_login) as site:
        config = uvicorn.Config(
            build_app(site), host="127.0.0.1", port=port, log_level="warning", proxy_headers=False, lifespan="off"
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield WebServer(site, engine, port, BatchCopies(folder / "outbox", WEB_FOLDER))
        finally:
            server.should_exit = True
            thread.join()
            engine.dispose()


@pytest.fixture(scope="module")
def web(postgres, migrated_template, tmp_path_factory) -> Iterator[WebServer]:
    """A page that requires a login."""
    with web_server(postgres, migrated_template, tmp_path_factory.mktemp("web"), needs_login=True) as server:
        yield server


@pytest.fixture(scope="module")
def local_web(postgres, migrated_template, tmp_path_factory) -> Iterator[WebServer]:
    """A page without a login, as in the demo."""
    with web_server(postgres, migrated_template, tmp_path_factory.mktemp("web"), needs_login=False) as server:
        yield server
