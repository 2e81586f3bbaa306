"""Meters and gateway locks of the configuration database, for commands that also work without a database."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emm_pipeline.config_db.device_state.register_issues import load_accepted
from emm_pipeline.config_db.gateway_locks import gateway_locks
from emm_pipeline.config_db.loader import load_fleet
from emm_pipeline.errors import ConfigDatabaseError, EmmError
from emm_pipeline.fleet import Fleet
from emm_pipeline.modbus.gateway_locks import GatewayLocks, Unlocked
from emm_pipeline.opening import open_config_database
from emm_pipeline.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterator, Mapping
    from pathlib import Path

    from sqlalchemy import Engine


@dataclass(frozen=True, slots=True)
class KnownFleet:
    """The fleet of the configuration database. Without a database: an empty fleet, no engine, and the reason."""

    engine: Engine | None = None
    fleet: Fleet = field(default_factory=Fleet)
    reason: str | None = None

    def accepted(self) -> Mapping[int, Collection[str]]:
        """Return, by meter id, the measurements whose absence a person has accepted; {} if they cannot be read."""
        with suppress(ConfigDatabaseError):  # an older database does not have the table
            return load_accepted(self.engine) if self.engine else {}
        return {}

    @asynccontextmanager
    async def locks(self) -> AsyncIterator[GatewayLocks]:
        """Yield the locks that prevent polls and this process from using a gateway at once; none without a database."""
        if self.engine is None:
            yield Unlocked()
            return
        async with gateway_locks(self.engine) as locks:
            yield locks


@contextmanager
def known_fleet(env_files: tuple[Path, ...]) -> Iterator[KnownFleet]:
    """Yield the fleet of the configuration database, or an empty one if there is no database that can be read."""
    try:
        settings = load_settings(*env_files)
    except EmmError as err:
        if env_files:  # the user named a file, so errors in it are reported
            raise
        yield KnownFleet(reason=str(err))
        return
    with open_config_database(settings) as engine:
        try:
            known = KnownFleet(engine, load_fleet(engine, all_types=True))
        except EmmError as err:
            known = KnownFleet(reason=str(err))
        yield known
