"""Open the configuration database, the readings store and its outbox that the settings name.

`config_db` and `stores` do not import settings; Dagster's resources and the command line use this module.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import event, make_url

from emm_pipeline.config_db.engine import create_config_engine
from emm_pipeline.settings import current_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import URL, Engine

    from emm_pipeline.settings import Settings
    from emm_pipeline.stores.base import ReadingsStore
    from emm_pipeline.stores.charts import ChartData
    from emm_pipeline.stores.delivery import Delivery
    from emm_pipeline.stores.history import HistoryStore
    from emm_pipeline.stores.outbox.folder import Outbox


ROTATION_TAKES_S = 5.0
"""Time (s) that the password in the server and the one in the file may differ during a rotation."""
_QUARTER_MS = 900_000
_REFUSED = "password authentication failed"


def follow_rotation(engine: Engine, url: Callable[[], URL | str]) -> None:
    """Make each new connection of an engine use the current user and password of `url`.

    If the password is refused, it is read again for a short time, because a rotation changes the server and the file
    one after the other.
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
    """Return the outbox for OUTBOX_DIR and OUTBOX_MAX_MB; its folder is created at its first use."""
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
        ca_file=settings.influxdb_ca_file,
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
"""By READINGS_STORE. Each function imports its store itself, because discovery and the daemon need no client."""

STORE_MODULES = tuple(f"emm_pipeline.stores.{name}.store" for name in _STORES)
"""The modules that opening a store imports, for processes that import them in advance."""


def open_readings_store(settings: Settings) -> AbstractContextManager[ReadingsStore]:
    """Open the store that READINGS_STORE names; nothing is contacted before its first use."""
    return _STORES[settings.readings_store](settings)


@contextmanager
def open_history(settings: Settings) -> Iterator[HistoryStore]:
    """Open the store that READINGS_STORE names, to read readings and to read and write energies.

    In InfluxDB 2.x, INFLUXDB_TOKEN may only write if `emm influxdb setup` has made it; INFLUXDB_READ_TOKEN may read.
    """
    if settings.readings_store == "postgresql":
        from emm_pipeline.stores.postgresql.history import PostgresHistory  # noqa: PLC0415

        with open_config_database(settings) as engine:
            yield PostgresHistory(engine)
        return
    from emm_pipeline.stores.influxdb.client import InfluxClient  # noqa: PLC0415
    from emm_pipeline.stores.influxdb.history import InfluxHistory  # noqa: PLC0415

    write_token = settings.influxdb_token.get_secret_value()
    store = InfluxHistory(
        InfluxClient(
            settings.influxdb_url,
            settings.influxdb_read_token.get_secret_value() or write_token,
            write_token,
            settings.influxdb_org,
            settings.influxdb_bucket,
            ca_file=settings.influxdb_ca_file,
        )
    )
    try:
        yield store
    finally:
        store.close()


@contextmanager
def open_charts(settings: Settings) -> Iterator[ChartData]:
    """Yield what reads points of the store that READINGS_STORE names; nothing is contacted before its first use."""
    if settings.readings_store == "postgresql":
        from emm_pipeline.stores.postgresql.charts import PostgresCharts  # noqa: PLC0415

        with open_config_database(settings) as engine:
            yield PostgresCharts(engine)
        return
    from emm_pipeline.stores.influxdb.charts import InfluxCharts  # noqa: PLC0415

    token = settings.influxdb_read_token.get_secret_value() or settings.influxdb_token.get_secret_value()
    yield InfluxCharts(settings.influxdb_url, token, settings.influxdb_bucket)


@contextmanager
def open_delivery(settings: Settings) -> Iterator[Delivery]:
    """Yield the delivery of points to the readings store through the outbox."""
    from emm_pipeline.stores.delivery import Delivery  # noqa: PLC0415

    with open_readings_store(settings) as store:
        yield Delivery(store, open_outbox(settings), lambda begin, end: _note_late(settings, begin, end))


def _note_late(settings: Settings, begin: int, end: int) -> None:
    """Note late readings (milliseconds), so that the energy of their hours is computed again.

    Times are rounded to quarters of an hour, at which hours begin in every time zone: many batches make few rows.
    """
    from emm_pipeline.config_db.device_state.energy_state import LATE, note_recomputation  # noqa: PLC0415

    first, last = begin - begin % _QUARTER_MS, end - end % _QUARTER_MS + _QUARTER_MS
    since, until = (datetime.fromtimestamp(each / 1000, UTC) for each in (first, last))
    with open_config_database(settings) as engine:
        note_recomputation(engine, since, until, LATE)
