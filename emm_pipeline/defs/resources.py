"""Resources: the steps' access to databases and stores. They contain no credentials that the UI could show."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from dagster import ConfigurableResource, InitResourceContext
from pydantic import PrivateAttr

from emm_pipeline.opening import open_config_database, open_delivery, open_history
from emm_pipeline.settings import Settings, current_settings

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from emm_pipeline.stores.delivery import Delivery
    from emm_pipeline.stores.history import HistoryStore


class ConfigDatabase(ConfigurableResource):  # type: ignore[type-arg]
    """The configuration database that POSTGRES_* names, with the meters and their status.

    The steps of a run share one engine, because connecting takes longer than most statements.
    """

    _of_run: ExitStack | None = PrivateAttr(default=None)
    _engine: "Engine | None" = PrivateAttr(default=None)

    def setup_for_execution(self, context: InitResourceContext) -> None:
        """Keep the engine that is opened first until the run ends; outside of a run, for example in sensors, none."""
        self._of_run = ExitStack() if context.run else None

    def teardown_after_execution(self, context: InitResourceContext) -> None:
        """Close the engine of the run."""
        _ = context
        if self._of_run:
            self._of_run.close()
        self._of_run = self._engine = None

    @contextmanager
    def open(self) -> "Iterator[Engine]":
        """Yield an engine."""
        if self._of_run is None:
            with open_config_database(current_settings()) as engine:
                yield engine
            return
        if self._engine is None:
            self._engine = self._of_run.enter_context(open_config_database(current_settings()))
        yield self._engine


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
