"""The watchdog's state in one file: the alerts that it has sent, and the lines that wait for channels.

It needs neither PostgreSQL nor Dagster, because the watchdog reports the failure of these.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from emm_pipeline.alerts.rules import Alert, AlertLine, compare, headline, lines
from emm_pipeline.errors import EmmError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from zoneinfo import ZoneInfo

    from emm_pipeline.alerts.channels import Channel
    from emm_pipeline.alerts.rules import Condition


@dataclass(slots=True)
class WatchdogState:
    """The alerts that were sent to people, and the lines that wait, by channel; kept in `file`."""

    file: Path
    raised: list[Alert] = field(default_factory=list)
    waiting: dict[str, list[AlertLine]] = field(default_factory=dict)
    issues: list[str] = field(default_factory=list)
    """Why polling does not work now; a health check reads it from the file."""

    @classmethod
    def load(cls, file: Path) -> WatchdogState:
        """Read the file. If it is missing or damaged, the state is empty."""
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            raised = [
                Alert(each["subject"], each["name"], datetime.fromisoformat(each["since"]), each["reason"])
                for each in content["raised"]
            ]
            waiting = {
                name: [AlertLine(bool(raised_), str(text)) for raised_, text in waits]
                for name, waits in content["waiting"].items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return cls(file)
        return cls(file, raised, waiting)

    def save(self) -> None:
        """Write the file durably, replacing the old one in a single step.

        Raises:
            EmmError: The folder cannot be written.
        """
        content = {
            "raised": [
                {"subject": a.subject, "name": a.name, "since": a.since.isoformat(), "reason": a.reason}
                for a in self.raised
            ],
            "issues": self.issues,
            "waiting": {name: [[line.raised, line.text] for line in waits] for name, waits in self.waiting.items()},
        }
        temporary = self.file.with_suffix(".tmp")
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("w", encoding="utf-8") as file:
                json.dump(content, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.file)
        except OSError as err:
            raise EmmError(f"{self.file} cannot be written: {err.strerror}") from None

    def look(self, conditions: Sequence[Condition], zone: ZoneInfo, channels: Sequence[str]) -> list[AlertLine]:
        """Raise and resolve alerts; those without a condition do not change. Saves and returns the new lines.

        A file that cannot be written prevents no alert: the next call of `save` reports it.
        """
        seen = {condition.subject for condition in conditions}
        changes = compare(conditions, [alert for alert in self.raised if alert.subject in seen])
        if not changes:
            return []
        last_ok_at = {condition.subject: condition.last_ok_at for condition in conditions if condition.last_ok_at}
        new = lines(changes, last_ok_at, zone)
        self.raised = [alert for alert in self.raised if alert not in changes.resolved] + list(changes.raised)
        for name in channels:
            self.waiting.setdefault(name, []).extend(new)
        with suppress(EmmError):
            self.save()
        return new

    def send(self, channels: Sequence[Channel], subject: str, on_error: Callable[[str], None]) -> None:
        """Send the lines that wait. Lines that a channel does not accept are sent again the next time.

        A file that cannot be written, because the disk is full, prevents no message.
        """
        for channel in channels:
            waits = self.waiting.get(channel.name)
            if not waits:
                continue
            try:
                channel.send(f"{subject}: {headline(waits)}", "".join(f"{line.text}\n" for line in waits))
                del self.waiting[channel.name]
                self.save()
            except EmmError as err:
                on_error(str(err))
