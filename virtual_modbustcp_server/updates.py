"""The result of an update: the registers that are served, and the lines about it in the log."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from .registers import Registers

logger = logging.getLogger("virtual_modbustcp_server")


class DeviceOff(Exception):  # noqa: N818 - a state of the device, not an error
    """Raised by `set_datastore` when the device is switched off, which is not a failure.

    The server then serves what the update wrote before: None for registers without a value. If it wrote nothing, reads
    of the unit are answered with exception 0x0B, as by a gateway with a silent unit. The log reports it once.
    """


@dataclass(frozen=True, slots=True)
class ServedData:
    """The registers of an update, the time of the update, and how long they may be served."""

    registers: Registers
    updated_at: datetime
    valid_for_s: float
    valid_until: float
    """In seconds of `time.monotonic`, which does not change when the system clock is corrected."""

    def expired(self) -> ServedData:
        """Return the data as no longer valid."""
        return replace(self, valid_for_s=0.0, valid_until=float("-inf"))

    @property
    def lifetime(self) -> str:
        """The time of the update and the end of its validity, for the log."""
        if not self.valid_for_s:
            return (
                f"the data of {self.updated_at:%Y-%m-%d %H:%M:%S} UTC is not served any more: reads are answered with "
                "exception 4 until an update succeeds"
            )
        until = self.updated_at + timedelta(seconds=self.valid_for_s)
        return (
            f"the data of {self.updated_at:%Y-%m-%d %H:%M:%S} is served until {until:%Y-%m-%d %H:%M:%S} UTC, "
            "then exception 4"
        )


class UpdateLog:
    """Logs the result of updates: a repeated failure without its traceback, and each change of state once."""

    def __init__(self) -> None:
        self._failure: type[BaseException] | None = None
        self._off = False
        self._stale_logged = False

    def failed(self, error: BaseException, data: ServedData | None) -> None:
        """Log that an update failed, and how long the earlier data is served."""
        logger.error(
            "set_datastore failed: %s: %s; %s",
            type(error).__name__,
            error,
            data.lifetime if data else "there is no earlier data to serve",
            exc_info=None if type(error) is self._failure else error,
        )
        self._failure = type(error)

    def succeeded(self, off: DeviceOff | None) -> None:
        """Log that the device was switched off or on, or that updates succeed again; otherwise nothing."""
        if off and not self._off:
            logger.info("the device is off: %s", off)
        elif self._off and not off:
            logger.info("the device is on again")
        elif self._failure:
            logger.info("set_datastore has recovered")
        self._off, self._failure, self._stale_logged = off is not None, None, False

    def stale(self, data: ServedData | None) -> None:
        """Log, once until the next success, that reads are refused."""
        if not self._stale_logged:
            self._stale_logged = True
            since = f"since {data.updated_at:%Y-%m-%d %H:%M:%S} UTC" if data else "yet"
            logger.error("no update has succeeded %s: reads are answered with exception 4", since)
