"""The settings of MQTT, a part of `settings.Settings`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, SecretStr, field_validator


class MqttSettings(BaseModel):
    """The variables MQTT_…; docs/configuration.md explains them."""

    mqtt_url: str = ""
    mqtt_user: str = ""
    mqtt_password: SecretStr = SecretStr("")
    mqtt_ca_file: Path | None = None
    mqtt_format: Literal["values", "json"] = "values"
    mqtt_retain: bool = False
    mqtt_discovery: bool = True
    mqtt_topic_prefix: str = "emm"
    mqtt_discovery_prefix: str = "homeassistant"

    @field_validator("mqtt_url")
    @classmethod
    def _is_mqtt(cls, value: str) -> str:
        if "@" in value:
            raise ValueError("user and password belong into MQTT_USER and MQTT_PASSWORD")
        if value and not re.fullmatch(r"mqtts?://(\[[0-9a-fA-F:.]+\]|[^\s/?#:\[\]]+)(:\d{1,5})?/?", value):
            raise ValueError("allowed: mqtt://host:port, or mqtts://host:port for TLS")
        return value

    @field_validator("mqtt_topic_prefix", "mqtt_discovery_prefix")
    @classmethod
    def _is_topic(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*", value):
            raise ValueError("allowed: letters, digits, _ and -, and / between levels")
        return value
