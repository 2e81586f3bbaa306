"""Resources: what the steps reach outside of Dagster. They hold no credential, so none is shown in the UI."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dagster import ConfigurableResource

from emm_pipeline.opening import open_config_database, open_delivery
from emm_pipeline.settings import Settings, current_settings

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from emm_pipeline.stores.delivery import Delivery


class ConfigDatabase(ConfigurableResource):  # type: ignore[type-arg]
    """The configuration database that POSTGRES_* names: which meters there are, and how each is."""

    @contextmanager
    def open(self) -> "Iterator[Engine]":
        """Yield an engine, closed afterwards."""
        with open_config_database(current_settings()) as engine:
            yield engine


class Readings(ConfigurableResource):  # type: ignore[type-arg]
    """The store that READINGS_STORE names, where readings go, and the outbox, where they are before."""

    @contextmanager
    def open(self) -> "Iterator[Delivery]":
        """Yield the way into the store, closed afterwards."""
        with open_delivery(current_settings()) as delivery:
            yield delivery


class Limits(ConfigurableResource):  # type: ignore[type-arg]
    """How much one run may do at once, and how often it says so; MAX_CONNECTIONS and STATUS_INTERVAL_S."""

    max_connections: int
    status_interval_s: int

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        """Take the limits from the settings."""
        return cls(max_connections=settings.max_connections, status_interval_s=settings.status_interval_s)
