"""The settings of the daily backup; a part of `settings.Settings`."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import BaseModel, Field, field_validator


class BackupSettings(BaseModel):
    """The variables BACKUP_…; docs/configuration.md explains them."""

    backup_dir: Path | None = None
    backup_time: str = "03:00"
    backup_keep: int = Field(default=7, ge=1)

    @field_validator("backup_time")
    @classmethod
    def _is_time(cls, value: str) -> str:
        if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value):
            raise ValueError("allowed: hours and minutes, such as 03:00")
        return value
