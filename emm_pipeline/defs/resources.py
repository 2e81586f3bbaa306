"""Resources: the steps' access to databases and stores. They contain no credentials that the UI could show."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dagster import ConfigurableResource

from emm_pipeline.opening import open_config_database, open_delivery, open_history
from emm_pipeline.settings import Settings, current_settings

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from emm_pipeline.stores.delivery import Delivery
    from emm_pipeline.stores.history import HistoryStore


class ConfigDatabase(ConfigurableResource):  # type: ignore[type-arg]
    """The configuration database that POSTGRES_* names, with the meters and their status."""

    @contextmanager
    def open(self) -> "Iterator[Engine]":
        """Yield an engine, and close it afterwards."""
        with open_config_database(current_settings()) as engine:
            yield engine


class Readings(ConfigurableResource):  # type: ignore[type-arg]
    """The readings store that READINGS_STORE names, and the outbox."""

    @contextmanager
    def open(self) -> "Iterator[Delivery]":
        """Yield the delivery to the store, and close it afterwards."""
        with open_delivery(current_settings()) as delivery:
            yield delivery


class ReadingsHistory(ConfigurableResource):  # type: ignore[type-arg]
    """The stored readings and energies."""

    @contextmanager
    def open(self) -> "Iterator[HistoryStore]":
        """Yield the store, and close it afterwards."""
        with open_history(current_settings()) as store:
            yield store


class Limits(ConfigurableResource):  # type: ignore[type-arg]
    """Limits of a run: MAX_CONNECTIONS, and STATUS_INTERVAL_S for how often it reports an unchanged status."""

    max_connections: int | None = None
    status_interval_s: int | None = None

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        """Take the limits from the settings."""
        return cls(max_connections=settings.max_connections, status_interval_s=settings.status_interval_s)
