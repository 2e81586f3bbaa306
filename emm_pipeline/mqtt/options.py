"""Publishing options, from the settings and the configuration."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from emm_pipeline.config_db.device_state.meter_labels import load_labels
from emm_pipeline.config_db.device_state.meter_status import load_polled_at
from emm_pipeline.config_db.loader import load_fleet
from emm_pipeline.errors import ConfigurationError
from emm_pipeline.mqtt.broker import Broker
from emm_pipeline.mqtt.meters import PublishedFleet, published_meters
from emm_pipeline.mqtt.sender import Options
from emm_pipeline.mqtt.topics import Topics

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from emm_pipeline.cron import Trigger
    from emm_pipeline.settings import Settings

_PORTS = {"mqtt": 1883, "mqtts": 8883}
MISSED_POLLS = 3
"""Number of polls after which a value no longer counts as current."""
_RUN_TAKES = timedelta(seconds=60)
"""Time that a run may need beyond its tick."""


def broker_of(settings: Settings) -> Broker:
    """Return address and login of the broker.

    Raises:
        ConfigurationError: MQTT_URL is not set, or its port is out of range.
    """
    if not settings.mqtt_url:
        raise ConfigurationError("MQTT_URL is not set: nothing is published; an example is mqtt://broker:1883")
    url = urlsplit(settings.mqtt_url)
    try:
        port = url.port or _PORTS[url.scheme]
    except ValueError:
        raise ConfigurationError(f"MQTT_URL={settings.mqtt_url!r}: allowed ports: 1 to 65535") from None
    password = settings.mqtt_password.get_secret_value()
    return Broker(url.hostname or "", port, url.scheme == "mqtts", settings.mqtt_user, password, settings.mqtt_ca_file)


def options_of(settings: Settings, version: str, *, values_only: bool) -> Options:
    """Return what is published, and how."""
    return Options(
        Topics(settings.mqtt_topic_prefix, settings.mqtt_discovery_prefix),
        version,
        discovery=settings.mqtt_discovery,
        as_json=settings.mqtt_format == "json",
        retain=settings.mqtt_retain,
        values_only=values_only,
        expires_after_s=int(_valid_for(settings.poll_trigger.longest_interval()).total_seconds()),
    )


def valid_for(trigger: Trigger, now: datetime | None = None) -> timedelta:
    """Return the time for which a value counts as current: until three polls are missing.

    Where polls are further apart at some hours, the longest of the current intervals counts.
    """
    now = now or datetime.now(UTC)
    first = trigger.next_tick(now)
    interval = max(first - now, trigger.next_tick(first) - first)
    return _valid_for(interval)


def _valid_for(interval: timedelta) -> timedelta:
    return MISSED_POLLS * interval + _RUN_TAKES


def load_published_fleet(engine: Engine) -> PublishedFleet:
    """Return every enabled meter, with the labels that it reports, and its last poll.

    Raises:
        ConfigDatabaseError: the database cannot be read.
    """
    meters = published_meters(load_fleet(engine), load_labels(engine))
    polled = {id_: int(time.timestamp() * 1000) for id_, time in load_polled_at(engine).items()}
    return PublishedFleet(meters, polled)
