"""What has come of reading one meter so far: a sample in the making."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from emm_pipeline.readings import Block, Failure, FailureKind, MeterSample

if TYPE_CHECKING:
    from emm_pipeline.fleet import EnergyMeter, MeterType
    from emm_pipeline.modbus.planning import Request

_NAMES_IN_REASON = 3


@dataclass(slots=True, eq=False)
class MeterPoll:
    """The requests that one meter is to answer, and what has come of them."""

    meter: EnergyMeter
    meter_type: MeterType
    requests: tuple[Request, ...]
    blocks: list[Block] = field(default_factory=list)
    failure: Failure | None = None
    sent: int = 0
    _time: datetime | None = None
    _first_request_s: float = 0.0
    _last_reply_s: float = 0.0

    def begin(self) -> None:
        """The meter's turn has come; so far this is when it was tried."""
        self._time = _now()

    def request_sent(self) -> None:
        """A request is being sent; the first one stamps the sample."""
        if not self.sent:
            self._time = _now()
            self._first_request_s = self._last_reply_s = time.monotonic()
        self.sent += 1

    def keep(self, request: Request, data: bytes) -> None:
        """Keeps the registers that a request brought."""
        self._last_reply_s = time.monotonic()
        self.blocks.append(Block(request.function_code, request.address, request.count, data))

    def fail(self, kind: FailureKind, reason: str) -> None:
        """States why the meter gave no data; replaces what was stated before."""
        self.failure = Failure(kind, self._located(reason))

    def fail_request(self, request: Request, kind: FailureKind, reason: str, exception_code: int | None) -> None:
        """States why a request brought no data. Of several exceptions the first is kept."""
        if kind is FailureKind.EXCEPTION:
            self._last_reply_s = time.monotonic()
            if self.failure:
                return
        link = {FailureKind.TIMEOUT: " to", FailureKind.EXCEPTION: " for"}.get(kind, ", asked for")
        reason = f"{reason}{link} {request} ({self._measurements(request)})"
        self.failure = Failure(kind, self._located(reason), exception_code)

    def sample(self) -> MeterSample:
        """The meter as read so far."""
        failure = self.failure
        if failure and self.sent and len(self.requests) > 1:
            answered = f"{len(self.blocks)} of {len(self.requests)} requests answered"
            failure = Failure(failure.kind, f"{failure.reason}; {answered}", failure.exception_code)
        return MeterSample(
            meter=self.meter,
            time=self._time or _now(),
            blocks=tuple(self.blocks),
            failure=failure,
            requests=self.sent,
            latency_ms=(self._last_reply_s - self._first_request_s) * 1000,
        )

    def _located(self, reason: str) -> str:
        return " ".join(f"{self.meter.address} unit {self.meter.unit_id}: {reason}".split())

    def _measurements(self, request: Request) -> str:
        names = [r.measurement_name for r in self.meter_type.registers if request.covers(r)]
        more = len(names) - _NAMES_IN_REASON
        return ", ".join(names[:_NAMES_IN_REASON]) + (f" and {more} more" if more > 0 else "")


def _now() -> datetime:
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)
