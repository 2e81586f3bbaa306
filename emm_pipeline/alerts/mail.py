"""Send a mail over SMTP. Only this module imports smtplib."""

from __future__ import annotations

import smtplib
import ssl
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import formatdate, make_msgid

from emm_pipeline.errors import AlertError

IMPLICIT_TLS_PORT = 465
"""Port on which connections use TLS from the start; on other ports STARTTLS switches to it."""

TIMEOUT_S = 20.0
"""Time in seconds that a mail server may take for each reply."""


class MailError(AlertError):
    """The mail server did not accept a mail."""


@dataclass(frozen=True, slots=True)
class MailServer:
    """The server to which mail is sent. Without a password EMM does not log in, for a relay on the local network."""

    host: str
    port: int
    user: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class MailChannel:
    """The channel that sends mail; `receivers` is one address, or several separated by commas."""

    server: MailServer
    sender: str
    receivers: str

    @property
    def name(self) -> str:
        """The channel's name in the database."""
        return "mail"

    def send(self, subject: str, body: str) -> list[str]:
        """Send one mail. See `send`."""
        return send(self.server, compose(self.sender, self.receivers, subject, body))


def compose(sender: str, receivers: str, subject: str, body: str) -> EmailMessage:
    """Return a message in plain text; `receivers` is one address, or several separated by commas."""
    message = EmailMessage()
    message["From"] = sender
    message["To"] = receivers
    message["Subject"] = subject
    message["Date"] = formatdate(localtime=False)
    message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2].strip("<> ") or None)
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: out-of-office answers do not reply to it
    message.set_content(body)
    return message


def send(server: MailServer, message: EmailMessage) -> list[str]:
    """Send a message.

    Returns:
        The receivers that the server refused, although it accepted the mail for others.

    Raises:
        MailError: The server does not reply, it refuses the login or every receiver, or the password would be sent
            unencrypted. The error names host and port and never contains the password.
    """
    try:
        with _connect(server) as connection:
            _secure_and_log_in(connection, server)
            refused = connection.send_message(message)
    except (smtplib.SMTPException, OSError) as err:
        raise MailError(f"mail server {server.host}:{server.port}: {_explain(server, err)}") from None
    return sorted(refused)


def _connect(server: MailServer) -> smtplib.SMTP:
    if server.port == IMPLICIT_TLS_PORT:
        context = ssl.create_default_context()
        return smtplib.SMTP_SSL(server.host, server.port, timeout=TIMEOUT_S, context=context)
    return smtplib.SMTP(server.host, server.port, timeout=TIMEOUT_S)


def _secure_and_log_in(connection: smtplib.SMTP, server: MailServer) -> None:
    connection.ehlo()
    is_secure = isinstance(connection, smtplib.SMTP_SSL)
    if not is_secure and connection.has_extn("starttls"):
        connection.starttls(context=ssl.create_default_context())
        is_secure = True
    if not server.password:
        return
    if not is_secure:
        raise smtplib.SMTPNotSupportedError(
            "does not offer STARTTLS, so the password would be sent unencrypted; use another port or server, "
            "or no password (LOGGER_SENDER_EMAIL_PASSWORD)"
        )
    connection.login(server.user, server.password)


def _explain(server: MailServer, err: Exception) -> str:
    hints = {
        smtplib.SMTPAuthenticationError: "check LOGGER_SENDER_EMAIL_ADDRESS and LOGGER_SENDER_EMAIL_PASSWORD",
        smtplib.SMTPRecipientsRefused: "check LOGGER_RECEIVER_EMAIL_ADDRESS",
        smtplib.SMTPSenderRefused: "check LOGGER_SENDER_EMAIL_ADDRESS",
        ssl.SSLError: "its certificate must be valid for LOGGER_SENDER_EMAIL_HOST",
    }
    hint = next((hint for kind, hint in hints.items() if isinstance(err, kind)), "")
    reason = " ".join(str(err).split()) or type(err).__name__
    if server.password:
        reason = reason.replace(server.password, "***")
    return f"{reason} ({hint})" if hint else reason
