"""A real SMTP server (aiosmtpd) for the tests, with STARTTLS, a login and its own certificate."""

import subprocess
from collections.abc import Iterator
from email import message_from_bytes, policy
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext
from typing import Any, Literal

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from support.ports import free_port

SENDER, RECEIVER = "emm@farm.example", "electrician@farm.example"
PASSWORD = "post-horn-7316"


class PostOffice:
    """A mail server on 127.0.0.1 that can be stopped and started, and keeps the mails that it receives.

    Attributes:
        mails: the received mails, oldest first.
        was_encrypted: for each mail, whether it was received over TLS.
        logins: the users that logged in, one per connection.
        refused: receivers that it refuses.
    """

    def __init__(self, folder: Path, tls: Literal["starttls", "implicit", "none"] = "starttls") -> None:
        self.port = free_port()
        self.certificate = folder / "certificate.pem"
        self.mails: list[Any] = []
        self.was_encrypted: list[bool] = []
        self.logins: list[str] = []
        self.refused: set[str] = set()
        self._tls = tls
        self._context = None if tls == "none" else _tls_context(folder, self.certificate)
        self._controller: Controller | None = None

    def on(self) -> None:
        """Listen, on the same port as before."""
        options: dict[str, Any] = {"authenticator": self._authenticate}
        if self._tls == "starttls":
            options |= {"tls_context": self._context, "require_starttls": True, "auth_required": True}
        if self._tls == "implicit":
            options |= {"ssl_context": self._context, "auth_require_tls": False, "auth_required": True}
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port, **options)
        self._controller.start()

    def off(self) -> None:
        """Stop listening."""
        if self._controller:
            self._controller.stop()
            self._controller = None

    def bodies(self) -> list[str]:
        """Return the text of each mail."""
        return [mail.get_content().replace("\r\n", "\n") for mail in self.mails]

    def _authenticate(self, server: SMTP, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        _ = server
        assert isinstance(data, LoginPassword)
        if (data.login.decode(), data.password.decode()) != (SENDER, PASSWORD):
            return AuthResult(success=False, handled=False)
        self.logins.append(data.login.decode())
        return AuthResult(success=True)

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:  # noqa: N802 - aiosmtpd's name
        if address in self.refused:
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
        self.was_encrypted.append(server.transport.get_extra_info("sslcontext") is not None)
        return "250 kept"


def _tls_context(folder: Path, certificate: Path) -> SSLContext:
    key = folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    context = SSLContext(PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


@pytest.fixture
def post_office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PostOffice]:
    """A mail server that requires STARTTLS and a login; this process trusts its certificate."""
    office = PostOffice(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(office.certificate))
    office.on()
    yield office
    office.off()
