"""Opens what the settings name: the configuration database, the readings store and its outbox.

The rooms of `config_db` and `stores` know no settings; Dagster's resources and the command line both come here.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import event, make_url

from emm_pipeline.config_db.engine import create_config_engine
from emm_pipeline.settings import current_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import URL, Engine

    from emm_pipeline.settings import Settings
    from emm_pipeline.stores.base import ReadingsStore
    from emm_pipeline.stores.delivery import Delivery
    from emm_pipeline.stores.outbox.folder import Outbox


ROTATION_TAKES_S = 5.0
"""How long the server and the file with the password may differ while it is rotated."""
_REFUSED = "password authentication failed"


def follow_rotation(engine: Engine, url: Callable[[], URL | str]) -> None:
    """Let each new connection of an engine use the user and password of `url` at that time.

    A password that is refused is read again for a moment: rotation changes the server and the file one after another.
    """

    @event.listens_for(engine, "do_connect")
    def _connect(dialect: Any, _record: object, arguments: tuple[Any, ...], parameters: dict[str, Any]) -> Any:
        deadline = time.monotonic() + ROTATION_TAKES_S
        while True:
            now = make_url(url())
            try:
                return dialect.connect(*arguments, **parameters | {"user": now.username, "password": now.password})
            except dialect.dbapi.OperationalError as err:
                if _REFUSED not in str(err) or time.monotonic() >= deadline:
                    raise
            time.sleep(0.2)


@contextmanager
def open_config_database(settings: Settings) -> Iterator[Engine]:
    """Yield an engine on the configuration database; nothing is contacted before its first use."""
    engine = create_config_engine(settings.config_database_url)
    if settings.emm_access_dir:
        follow_rotation(engine, lambda: current_settings().config_database_url)
    try:
        yield engine
    finally:
        engine.dispose()


def open_outbox(settings: Settings) -> Outbox:
    """Return the outbox that OUTBOX_DIR and OUTBOX_MAX_MB describe; its folder is made at its first use."""
    from emm_pipeline.stores.outbox.folder import Outbox  # noqa: PLC0415

    return Outbox(settings.outbox_folder, settings.outbox_max_mb * 1_000_000)


@contextmanager
def _open_influxdb(settings: Settings) -> Iterator[ReadingsStore]:
    from emm_pipeline.stores.influxdb.store import InfluxReadingsStore  # noqa: PLC0415

    store = InfluxReadingsStore(
        url=settings.influxdb_url,
        token=settings.influxdb_token.get_secret_value(),
        org=settings.influxdb_org,
        bucket=settings.influxdb_bucket,
    )
    try:
        yield store
    finally:
        store.close()


@contextmanager
def _open_postgresql(settings: Settings) -> Iterator[ReadingsStore]:
    from emm_pipeline.stores.postgresql.store import PostgresReadingsStore  # noqa: PLC0415

    with open_config_database(settings) as engine:
        yield PostgresReadingsStore(engine)


_STORES = {"influxdb": _open_influxdb, "postgresql": _open_postgresql}
"""By READINGS_STORE. Each imports its store itself: a run that only discovers, and the daemon, need no client."""

STORE_MODULES = tuple(f"emm_pipeline.stores.{name}.store" for name in _STORES)
"""What opening a store imports, for processes that import in advance."""


def open_readings_store(settings: Settings) -> AbstractContextManager[ReadingsStore]:
    """Open the store that READINGS_STORE names; nothing is contacted before its first use."""
    return _STORES[settings.readings_store](settings)


@contextmanager
def open_delivery(settings: Settings) -> Iterator[Delivery]:
    """Yield the way into the readings store, by way of the outbox."""
    from emm_pipeline.stores.delivery import Delivery  # noqa: PLC0415

    with open_readings_store(settings) as store:
        yield Delivery(store, open_outbox(settings))
