"""Records that reading passes to decoding and loading: meter readings, failures, and the columns of a DataFrame."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from emm_pipeline.registers import WORD_BYTES, FunctionCode

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from emm_pipeline.fleet import EnergyMeter, MeterType, Register

READING_COLUMNS = ("time", "id", "description", "measurement", "unit", "value")
"""Columns of the readings DataFrame, one row per point.

`time`: datetime64[ms, UTC], the time of the reading. `id`: int64. `description`, `measurement`, `unit`: categorical
texts; a missing text is NaN. `value`: float64, finite, in `unit`.
"""

LABELS_LAST = timedelta(hours=24)
"""Time for which the texts about a meter (serial number, model, firmware) are not read again."""

REFUSAL_LASTS = timedelta(hours=24)
"""Time for which registers that a unit has refused are omitted from its requests."""

ASKED_EACH_TIME = 3
"""Number of times in a row that a register which the unit gave before may be refused, and is still requested."""

LEFT_OUT_AT_MOST = timedelta(minutes=30)
"""Maximum time for which registers that the unit gave before are omitted from its requests."""


class FailureKind(StrEnum):
    """Reason why a meter, or some of its registers, could not be read."""

    TIMEOUT = "timeout"
    """The unit did not reply to a request in time."""
    REFUSED = "refused"
    """No connection: refused, unreachable, or a name that does not resolve."""
    EXCEPTION = "exception"
    """The unit replied with a Modbus exception code."""
    CLOSED = "closed"
    """The connection was closed without a reply."""
    INVALID_REPLY = "invalid reply"
    """The received bytes are not a reply to the request, or only a part of one."""
    CONFIGURATION = "configuration"
    """The configuration does not allow the meter to be read."""
    DEADLINE = "deadline"
    """The deadline passed before or while the unit was read."""
    NOT_DUE = "not due"
    """The unit keeps failing, and is polled less often."""


_SILENCE = {FailureKind.TIMEOUT, FailureKind.REFUSED}

_PASSING = {FailureKind.TIMEOUT, FailureKind.REFUSED, FailureKind.CLOSED, FailureKind.INVALID_REPLY}

UNIT_IS_SILENT = 11
"""Exception code with which a gateway reports that the unit did not reply to it."""

BUSY_EXCEPTIONS = frozenset({5, 6, UNIT_IS_SILENT})
"""Codes with which a unit or its gateway reports that it is busy: acknowledge, busy, target did not respond."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why something could not be read, in one line that names `host:port`, unit and registers."""

    kind: FailureKind
    reason: str
    exception_code: int | None = None
    was_silent: bool = False
    """With NOT_DUE: whether the unit was silent at the last attempt."""

    @property
    def is_silence(self) -> bool:
        """Whether the device did not reply, as if it were off; its gateway may have reported that."""
        if self.kind is FailureKind.NOT_DUE:
            return self.was_silent
        return self.kind in _SILENCE or self.exception_code == UNIT_IS_SILENT


@dataclass(frozen=True, slots=True, order=True)
class Request:
    """A request to read `count` registers, starting at `address`; with function codes 1 and 2, `count` bits."""

    function_code: FunctionCode
    address: int
    count: int
    register_bytes: int = WORD_BYTES
    """Bytes that the device sends for a register: 2, or 4."""

    @classmethod
    def of(cls, register: Register) -> Request:
        """Return the request for one register of a type alone."""
        return cls(register.function_code, register.register_address, register.count, register.register_bytes)

    @property
    def end(self) -> int:
        """The address after the last register read."""
        return self.address + self.count

    @property
    def reply_size(self) -> int:
        """Bytes of data that the reply brings: of registers, or of bits, eight in each byte."""
        if self.function_code <= FunctionCode.READ_DISCRETE_INPUTS:  # a property is slower
            return -(-self.count // 8)
        return self.count * self.register_bytes

    @property
    def words(self) -> int:
        """Words of 16 bits that its register block has; each bit is a word there."""
        return self.count * self.register_bytes // WORD_BYTES

    def address_of(self, word: int) -> int:
        """Return the address of the register that holds this word of the register block, counted from 0."""
        return self.address + word * WORD_BYTES // self.register_bytes

    def part(self, address: int, end: int) -> Request:
        """Return a request for some of the registers: from `address` to the one before `end`."""
        return Request(self.function_code, address, end - address, self.register_bytes)

    def covers(self, register: Register) -> bool:
        """Whether the reply contains all registers of the value."""
        return (
            register.function_code == self.function_code
            and self.address <= register.register_address
            and register.end <= self.end
        )

    def __str__(self) -> str:
        what = "bit" if self.function_code.reads_bits else "register"
        registers = f"{what}s {self.address}-{self.end - 1}" if self.count > 1 else f"{what} {self.address}"
        return f"function {self.function_code.value}, {registers}"


@dataclass(frozen=True, slots=True)
class RegisterBlock:
    """The registers of one reply.

    `data` is as on the wire (big-endian words); of bits, each is a word, 0 or 1. `order` says how many blocks of the
    meter reading came before.
    """

    request: Request
    data: bytes
    order: int = field(default=0, compare=False)


GivenRange = tuple[int, int, int]
"""Registers: function code, first address, address after the last one."""


@dataclass(frozen=True, slots=True)
class UnsupportedRange:
    """Registers that a unit does not support: those of a value, or of a gap between two values.

    `exception_code` is what it replied at `refused_at` (UTC), 0 if nothing. A unit that gave them before, or sent no
    reply, may give them soon (`is_temporary`); `times_refused` counts how often in a row it did not. With code 0,
    registers of several values are a request for more than the unit sends at once: it is split before it is sent.
    """

    function_code: FunctionCode
    address: int
    count: int
    exception_code: int
    refused_at: datetime
    times_refused: int = 1
    is_temporary: bool = False

    @property
    def end(self) -> int:
        """The address after the last register."""
        return self.address + self.count

    @property
    def tried_again_at(self) -> datetime:
        """When a request may cover these registers again."""
        if not self.is_temporary:
            return self.refused_at + REFUSAL_LASTS
        if self.times_refused <= ASKED_EACH_TIME:
            return self.refused_at
        doublings = min(self.times_refused - ASKED_EACH_TIME - 1, 10)
        return self.refused_at + min(LEFT_OUT_AT_MOST, timedelta(minutes=1 << doublings))

    def lies_in(self, request: Request) -> bool:
        """Whether a request covers all of these registers."""
        same = self.function_code == request.function_code
        return same and request.address <= self.address and self.end <= request.end

    @property
    def key(self) -> GivenRange:
        """The key of these registers."""
        return int(self.function_code), self.address, self.end


@dataclass(frozen=True, slots=True)
class MeterReading:
    """The result of reading one meter once.

    `time` (UTC, whole milliseconds) is the time of the reading. A partly read meter has both blocks and a failure.
    `requests` is the number of requests sent, `latency_ms` the time from the first request to the last reply.
    `unsupported` are the registers that the unit does not support, known before or found now; `notices` describe them
    for a person, one line each. `located_type` is the meter's type with the addresses of this device's SunSpec models;
    `models` maps `model_key` to address, if they were searched for and found. `labels` maps name to text, if the
    registers that hold texts were requested.
    """

    meter: EnergyMeter
    time: datetime
    blocks: tuple[RegisterBlock, ...] = ()
    failure: Failure | None = None
    requests: int = 0
    latency_ms: float = 0.0
    unsupported: tuple[UnsupportedRange, ...] = ()
    notices: tuple[str, ...] = ()
    located_type: MeterType | None = None
    models: Mapping[int, int] | None = None
    labels: Mapping[str, str] | None = None

    @property
    def is_silent(self) -> bool:
        """Whether the device is like one that is off: no connection, or no reply of the device to any request."""
        return self.failure is not None and not self.blocks and self.failure.is_silence

    @property
    def is_retriable(self) -> bool:
        """Whether the meter failed for a reason that may disappear a moment later."""
        return self.failure is not None and (
            self.failure.kind in _PASSING or self.failure.exception_code in BUSY_EXCEPTIONS
        )


class PollPoint(NamedTuple):
    """The result of reading one meter: a point of the pipeline's own measurement `emm_poll`.

    `status` is one of `status.State`, as far as it is known before the points are stored. `silent` says that nothing
    replied; it is not stored. A tuple, because a run's steps pickle one for each meter and sample time.
    """

    time: datetime
    id: int
    description: str | None
    ok: bool
    latency_ms: float
    requests: int
    points: int
    error: str | None = None
    status: str | None = None
    silent: bool = False
