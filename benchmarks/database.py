"""An upgraded configuration database without rows, for the other modules to fill."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from emm_pipeline.config_db.engine import create_config_engine
from emm_pipeline.config_db.upgrade import ensure_database, upgrade
from emm_pipeline.embedded_postgres import EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine


@contextmanager
def configuration_database() -> Iterator[Engine]:
    """Yield the engine of a database on a PostgreSQL server of its own, which is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="emm-bench-") as folder:
        Path(folder).chmod(0o755)
        with EmbeddedPostgres(Path(folder) / "data", durable=False) as server:
            url = server.url("bench")
            ensure_database(url)
            engine = create_config_engine(url)
            upgrade(engine)
            try:
                yield engine
            finally:
                engine.dispose()
