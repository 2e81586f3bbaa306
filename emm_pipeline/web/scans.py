"""Scans of gateways, each in a thread with its own event loop; their progress can be read while they run."""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from emm_pipeline.catalog import load_catalogue
from emm_pipeline.commissioning.ranking import Ranking
from emm_pipeline.commissioning.scan_remarks import scan_remarks
from emm_pipeline.commissioning.scan_state import Probe, Scan, Watcher
from emm_pipeline.commissioning.scanning import scan_any
from emm_pipeline.config_db.gateway_locks import gateway_locks
from emm_pipeline.errors import ConfigurationError, EmmError
from emm_pipeline.fleet import FunctionCode
from emm_pipeline.modbus.messages import advise_on
from emm_pipeline.modbus.session import Timing
from emm_pipeline.modbus.transport.base import ConnectError
from emm_pipeline.modbus.transport.choosing import other_framings
from emm_pipeline.readings import Request
from emm_pipeline.web.reach import hint_on_reach

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine

    from emm_pipeline.catalog import CatalogueType
    from emm_pipeline.commissioning.scan_state import FoundUnit
    from emm_pipeline.fleet import GatewayAddress

AT_ONCE, KEPT = 3, 20
"""Maximum number of scans that run at once, and of scans whose result is kept."""
_TIMEOUT_S, _PAUSE_S = 1.5, 0.05
"""As `emm scan` by default."""


class ScanStatus(StrEnum):
    """The status of a scan."""

    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass
class RunningScan:
    """A scan, which runs or has ended. `gateway` is the one behind which units were found, once it has ended."""

    id: str
    gateway: GatewayAddress
    state: Scan
    may_try_others: bool
    began: float = field(default_factory=time.monotonic)
    status: ScanStatus = ScanStatus.RUNNING
    error: str | None = None
    messages: list[str] = field(default_factory=list)
    loop: asyncio.AbstractEventLoop | None = None
    task: asyncio.Task[GatewayAddress] | None = None
    is_cancelled: bool = False

    @property
    def units(self) -> Sequence[FoundUnit]:
        """The units that were found so far."""
        return tuple(self.state.found)

    @property
    def entries(self) -> dict[str, CatalogueType]:
        """The possible types of the units by name, also variants of the catalogue's types with other orders."""
        return {each.type: each.entry for unit in self.units for each in unit.candidates or ()}

    def cancel(self) -> None:
        """End the scan; the units found so far remain."""
        self.is_cancelled = True
        if self.loop and self.task and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.task.cancel)

    def as_record(self) -> dict[str, Any]:
        """Return the progress and the result as types that JSON has."""
        return {
            "id": self.id,
            "status": self.status,
            "gateway": self.gateway.name,
            "asked": self.state.asked,
            "total": len(self.state.units),
            "error": self.error,
            "messages": list(dict.fromkeys([*self.messages, *self.state.notices])),
            "units": [
                {
                    "unit": each.unit_id,
                    "reply": each.reply.reason or f"0x{each.reply.words[0]:04X}",
                    "milliseconds": round(each.reply.seconds * 1000),
                    "candidates": None
                    if each.candidates is None
                    else [
                        {"type": one.type, "proven": one.proven, "confidence": one.confidence.name.lower()}
                        for one in each.candidates
                    ],
                    "same_as": each.same_as,
                    "labels": dict(each.labels),
                }
                for each in self.units
            ],
        }


class Scans:
    """Starts scans and finds them by id.

    Args:
        engine: the configuration database, whose locks prevent polls from using a gateway during a scan.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._scans: OrderedDict[str, RunningScan] = OrderedDict()
        self._lock = threading.Lock()

    def start(self, gateway: GatewayAddress, units: Sequence[int], *, may_try_others: bool) -> RunningScan:
        """Start a scan.

        Args:
            gateway: Where to look.
            units: The unit ids to ask.
            may_try_others: Whether to try another framing if no unit replies.

        Raises:
            ConfigurationError: Too many scans run, or one of this gateway.
        """
        scan = RunningScan(secrets.token_urlsafe(9), gateway, Scan(units), may_try_others)
        with self._lock:
            running = [each for each in self._scans.values() if each.status is ScanStatus.RUNNING]
            if len(running) >= AT_ONCE:
                raise ConfigurationError(f"{len(running)} scans are running: wait for one to end, or cancel one")
            if any((each.gateway.host, each.gateway.port) == (gateway.host, gateway.port) for each in running):
                raise ConfigurationError(f"a scan of {gateway.name} is already running")
            self._scans[scan.id] = scan
            ended = [key for key, each in self._scans.items() if each.status is not ScanStatus.RUNNING]
            for key in ended[: max(0, len(self._scans) - KEPT)]:
                del self._scans[key]
        threading.Thread(target=self._run, args=(scan,), name="scan", daemon=True).start()
        return scan

    def find(self, id_: str) -> RunningScan | None:
        """Return a scan; None if it is not kept."""
        with self._lock:
            return self._scans.get(id_)

    def cancel_all(self) -> None:
        """Cancel all scans, because the server ends."""
        with self._lock:
            for scan in self._scans.values():
                scan.cancel()

    def _run(self, scan: RunningScan) -> None:
        status = ScanStatus.DONE
        try:
            scan.gateway = asyncio.run(self._scan(scan))
        except asyncio.CancelledError:
            status = ScanStatus.CANCELLED
        except ConnectError as err:
            status = ScanStatus.FAILED
            command = f"emm scan {scan.gateway.host}:{scan.gateway.port}"
            told = [f"{scan.gateway.name}: {err}", hint_on_reach(scan.gateway, command), advise_on(err)]
            scan.error = "; ".join(filter(None, told))
        except EmmError as err:
            status, scan.error = ScanStatus.FAILED, str(err)
        except Exception:
            status, scan.error = ScanStatus.FAILED, "This is an error in EMM. Its log has the details."
            raise
        finally:
            if status is ScanStatus.DONE:
                scan.messages += scan_remarks(scan.state, _TIMEOUT_S, with_options=False)
            scan.status = status

    async def _scan(self, scan: RunningScan) -> GatewayAddress:
        scan.loop, scan.task = asyncio.get_running_loop(), asyncio.current_task()
        if scan.is_cancelled:
            raise asyncio.CancelledError
        timing = Timing(_TIMEOUT_S, _PAUSE_S, 0.0, 0.0)
        request = Request(FunctionCode.READ_HOLDING_REGISTERS, 0, 1)
        probe = Probe(scan.gateway, request, timing, Ranking(load_catalogue().values()))
        others = other_framings(scan.gateway) if scan.may_try_others else ()
        watcher = Watcher(
            lambda: None,
            lambda: _say(scan, "waiting for a poll of this gateway to end"),
            lambda gateway: _say(scan, f"no unit answers over {scan.gateway.name}: trying {gateway.name}"),
            lambda: _say(scan, "no unit answers: asking each again, because some gateways lose the first request"),
        )
        async with gateway_locks(self._engine) as locks:
            return await scan_any(probe, others, scan.state, locks, watcher)


def _say(scan: RunningScan, message: str) -> None:
    if message not in scan.messages:
        scan.messages.append(message)
