"""The virtual devices among the meters: whether they answer, when their data was updated, where their log is (pure).

`virtual_modbustcp_server` serves the data of a device without Modbus. It tells about itself only while an update fails.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from emm_pipeline.status import State

if TYPE_CHECKING:
    from collections.abc import Iterable

    from emm_pipeline.condition.meters import MeterCondition

TYPES = frozenset({"virtual_modbustcp", "zeversolar"})
"""The types of the examples. `emm virtual new` gives each further device a type with the name of its host."""

_TOLD = re.compile(r"it is a virtual server: (?P<what>.*); its log: (?P<log>.+)$")
_SINCE = re.compile(r"no update since ([0-9-]{10} [0-9:]{8}) UTC")
_ANSWERED = frozenset({State.OK, State.DEGRADED, State.WAITING})


@dataclass(frozen=True, slots=True)
class VirtualDevice:
    """A virtual device.

    Attributes:
        meter: The meter, with its status.
        answers: Whether its server answered the last poll; None if that is not known.
        current_at: The last time at which its data is known to have been current (aware): its last update if it
            reports that one, else its last reading; None if there is none.
        log: Where its log is; None if it is not known.
    """

    meter: MeterCondition
    answers: bool | None
    current_at: datetime | None
    log: str | None

    def as_record(self) -> dict[str, Any]:
        """Return it as types that JSON has; times are aware."""
        return {
            "id": self.meter.id,
            "description": self.meter.row.get("description"),
            "host": self.meter.row.get("host"),
            "port": self.meter.row.get("port"),
            "type": self.meter.row.get("type"),
            "status": self.meter.status.state,
            "reason": self.meter.status.reason,
            "answers": self.answers,
            "current_at": self.current_at,
            "log": self.log,
        }


def virtual_devices(meters: Iterable[MeterCondition], *, in_stack: bool) -> list[VirtualDevice]:
    """Return the meters that are virtual devices, in their order.

    Args:
        meters: The condition of all meters.
        in_stack: Whether devices are services of the stack, whose logs Docker keeps.
    """
    return [_described(meter, in_stack=in_stack) for meter in meters if _is_virtual(meter)]


def _is_virtual(meter: MeterCondition) -> bool:
    type_name, host = (str(meter.row.get(name) or "").strip() for name in ("type", "host"))
    return type_name in TYPES or (type_name == host != "") or _TOLD.search(meter.status.reason or "") is not None


def _described(meter: MeterCondition, *, in_stack: bool) -> VirtualDevice:
    host = str(meter.row.get("host") or "")
    log = f"docker compose logs {host}" if in_stack and not set(host) & set(".:/") else None
    told = _TOLD.search(meter.status.reason or "")
    if told:
        since = _SINCE.search(told["what"])
        current_at = datetime.fromisoformat(since[1]).replace(tzinfo=UTC) if since else None
        return VirtualDevice(meter, True, current_at, told["log"])
    state = meter.status.state
    answers = True if state in _ANSWERED else False if state is State.FAILING else None
    return VirtualDevice(meter, answers, meter.last_read_at, log)
