"""Channels of alerts: mail, and those of Apprise. Each receives every line, even while another one is unavailable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from emm_pipeline.settings import Settings


class Channel(Protocol):
    """A service that delivers alerts to people."""

    @property
    def name(self) -> str:
        """The channel's name in the database; it contains no credentials."""

    def send(self, subject: str, body: str) -> list[str]:
        """Send a message.

        Returns:
            The receivers that the service refused, although it accepted the message for others.

        Raises:
            EmmError: The service did not accept the message. The error names the service and contains no credentials.
        """


def channels_of(settings: Settings) -> list[Channel]:
    """Return the channels that the settings name: ALERT_URLS, and EMAIL_NOTIFICATIONS unless mail cannot be sent."""
    from emm_pipeline.alerts.apprise_channel import AppriseChannel  # noqa: PLC0415
    from emm_pipeline.alerts.mail import MailChannel, MailServer  # noqa: PLC0415

    found: list[Channel] = []
    if settings.email_notifications and not settings.mail_issue:
        server = MailServer(
            settings.logger_sender_email_host,
            settings.logger_sender_email_port,
            settings.logger_sender_email_address,
            settings.logger_sender_email_password.get_secret_value(),
        )
        addresses = settings.logger_sender_email_address, settings.logger_receiver_email_address
        found.append(MailChannel(server, *addresses))
    return found + [AppriseChannel(url) for url in dict.fromkeys(settings.alert_urls.get_secret_value().split())]
