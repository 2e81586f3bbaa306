"""The settings of alerts: mail, the channels of Apprise, and Grafana's rules; a part of `settings.Settings`."""

from __future__ import annotations

from pydantic import BaseModel, Field, SecretStr


class AlertSettings(BaseModel):
    """The variables of alerts; docs/configuration.md explains them."""

    email_notifications: bool = False
    logger_sender_email_host: str = ""
    logger_sender_email_port: int = Field(default=587, ge=1, le=65535)
    logger_sender_email_address: str = ""
    logger_sender_email_password: SecretStr = SecretStr("")
    logger_receiver_email_address: str = ""
    logger_notification_email_subject: str = "EMM"
    alert_urls: SecretStr = SecretStr("")
    grafana_alerts: bool = False

    @property
    def mail_issue(self) -> str | None:
        """Why no mail can be sent although EMAIL_NOTIFICATIONS is on; None if there is no such reason."""
        needed = ("logger_sender_email_host", "logger_sender_email_address", "logger_receiver_email_address")
        missing = [name.upper() for name in needed if not getattr(self, name)]
        if not self.email_notifications or not missing:
            return None
        return f"EMAIL_NOTIFICATIONS is on, but no mail can be sent: set {', '.join(missing)}, or switch it off"
