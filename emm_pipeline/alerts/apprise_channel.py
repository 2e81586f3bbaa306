"""An alert channel of Apprise (chat, push, webhook and others), given by a URL. The only module that imports apprise.

https://appriseit.com/services/ describes the URLs. They contain credentials, so messages show them only redacted.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from emm_pipeline.errors import AlertError, ConfigurationError

TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class AppriseChannel:
    """The channel that a URL of Apprise names."""

    url: str = field(repr=False)

    @property
    def name(self) -> str:
        """The channel's name in the database: a hash, because the URL contains credentials."""
        return f"apprise {hashlib.sha256(self.url.encode()).hexdigest()[:12]}"

    def send(self, subject: str, body: str) -> list[str]:
        """Send a message. Returns an empty list, because Apprise does not report single receivers.

        Raises:
            AlertError: The service did not accept it.
            ConfigurationError: Apprise does not support the URL.
        """
        import apprise  # noqa: PLC0415  # 0.3 s, which only sending needs

        notifier = apprise.Apprise()
        if not notifier.add(self.url):
            scheme = self.url.partition("://")[0][:20]
            raise ConfigurationError(f"ALERT_URLS: Apprise does not understand the URL that begins with {scheme}://")
        reasons: list[str] = []
        told = notifier.notify(
            body=body,
            title=subject,
            body_format=apprise.NotifyFormat.TEXT,
            timeout=TIMEOUT_S,
            log_callback=lambda entry, _service: reasons.append(entry.message),
            log_level=apprise.logging.WARNING,
        )
        if told:
            return []
        shown = str(notifier[0].url(privacy=True))  # type: ignore[no-untyped-call]  # of a package without types
        reason = " ".join(" ".join(reasons).split()).replace(self.url, shown) or "no reason given"
        raise AlertError(f"{shown}: {reason}")
