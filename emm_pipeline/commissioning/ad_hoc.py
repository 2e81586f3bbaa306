"""Check one device, in the database or not, while no poll uses its gateway."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from emm_pipeline.commissioning.check_results import AD_HOC_ID
from emm_pipeline.commissioning.checking import check_meters
from emm_pipeline.config_db.gateway_locks import gateway_locks
from emm_pipeline.errors import TransientError
from emm_pipeline.fleet import EnergyMeter

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from emm_pipeline.commissioning.check_results import MeterCheck
    from emm_pipeline.fleet import GatewayAddress, MeterType


def ad_hoc_meter(gateway: GatewayAddress, unit_id: int, type_name: str, factor: float = 1.0) -> EnergyMeter:
    """Return a meter that is not in the database."""
    return EnergyMeter(
        AD_HOC_ID,
        gateway.host,
        gateway.port,
        unit_id,
        type_name,
        transport=gateway.transport,
        serial_settings=gateway.serial_settings,
        factor=factor,
    )


def check_now(engine: Engine, meter: EnergyMeter, meter_type: MeterType, within_s: float) -> MeterCheck:
    """Read every register of a meter; it blocks, in a thread without an event loop.

    Raises:
        TransientError: The check took longer than `within_s`, for example because polls use the gateway all the time.
    """

    async def check() -> MeterCheck:
        async with asyncio.timeout(within_s), gateway_locks(engine) as locks:
            checks = await check_meters([meter], {meter.type: meter_type}, locks, _nothing, _nothing)
        return checks[0]

    try:
        return asyncio.run(check())
    except TimeoutError:
        raise TransientError(f"{meter.gateway}: the check did not end within {within_s:.0f} s") from None


def _nothing() -> None:
    """Report no progress."""
