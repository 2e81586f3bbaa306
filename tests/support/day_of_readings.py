"""A day of readings as a house has them, put into a running installation as if it had polled."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from emm_pipeline.opening import open_config_database
from emm_pipeline.stores.outbox.copies import WEB_FOLDER
from emm_pipeline.stores.outbox.kinds import SUFFIX, pack_batch
from emm_pipeline.stores.points import PointBatch
from emm_pipeline.stores.postgresql.store import PostgresReadingsStore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from emm_pipeline.settings import Settings

MINUTES = 24 * 60


def put_day(settings: Settings, watts: Mapping[int, float]) -> None:
    """Put a day of `activePower`, which ends at `watts` by meter id, into the store; its last hour into the page."""
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    rows = [
        {
            "time": round((now - timedelta(minutes=minute)).timestamp() * 1000),
            "id": id_,
            "description": None,
            "measurement": "activePower",
            "unit": "W",
            "value": round(last * _shape(id_, now - timedelta(minutes=minute)) / _shape(id_, now), 1),
        }
        for id_, last in watts.items()
        for minute in range(2, MINUTES)
    ]
    with open_config_database(settings) as engine:
        PostgresReadingsStore(engine).write(PointBatch.of(rows))
    last_hour = [row for row in rows if row["time"] > (now - timedelta(hours=1)).timestamp() * 1000]
    content = pack_batch(PointBatch.of(last_hour), "day of readings")
    batch = settings.outbox_folder / WEB_FOLDER / f"{now:%Y%m%dT%H%M%S}.000000-day{SUFFIX}"
    unfinished = batch.with_suffix(".tmp")
    unfinished.write_bytes(content)
    unfinished.rename(batch)


def _shape(id_: int, time: datetime) -> float:
    """Little at night, most at noon and in the evening, with a motor that runs every half hour."""
    hour = time.hour + time.minute / 60
    day = math.exp(-(((hour - 12.5) / 3) ** 2)) + math.exp(-(((hour - 19) / 1.8) ** 2))
    motor = 0.25 if (time.minute + 7 * id_) % 30 < 11 else 0.0
    return 0.5 + day + motor + 0.03 * math.sin(time.minute + id_)
