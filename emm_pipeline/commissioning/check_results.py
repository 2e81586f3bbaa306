"""The result of a check of a meter: what was read, and the verdict (pure).

A check fails if a poll would not read every register, or if a value cannot be right. What a poll copes with is a note:
registers that can be read singly but not together, slow replies, unusual frames.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from emm_pipeline.fleet import DataType
from emm_pipeline.modbus.exception_codes import UNSUPPORTED
from emm_pipeline.plausibility import implausibility
from emm_pipeline.readings import Request

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from emm_pipeline.fleet import EnergyMeter, MeterType, Register
    from emm_pipeline.modbus.session import Reply
    from emm_pipeline.modbus.splitting import TrackedRequest
    from emm_pipeline.modbus.transport.base import TransportError


AD_HOC_ID = -(2**31) - 1
"""Id of a meter that is not in the database; no meter in a database can have it."""


class Verdict(StrEnum):
    """The result of the check of a meter."""

    OK = "OK"
    NOTES = "OK with notes"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class RegisterCheck:
    """A register, read by itself; `value` is in its unit, None where there is none. A label has a `text` instead."""

    register: Register
    reply: Reply
    value: float | None = None
    text: str | None = None
    companion: Reply | None = None
    """The failed reply to the request for its scale factor, sign or upper half."""

    @property
    def failure(self) -> Reply | None:
        """The failed reply because of which it has no value."""
        return self.companion if self.reply.words else self.reply

    @property
    def implausible(self) -> str | None:
        """Why the value cannot be right, so that type, order or scale must be wrong; None if it can."""
        if self.value is None:
            return None
        return implausibility(self.register.measurement_name, self.register.data_unit, self.value)

    @property
    def is_label(self) -> bool:
        """Whether it holds a text about the meter."""
        return self.register.data_type is DataType.STRING

    @property
    def is_empty(self) -> bool:
        """Whether the device replied that it has no value."""
        return not self.failure and self.value is None and not self.is_label


@dataclass(frozen=True, slots=True)
class SumCheck:
    """A combined measurement of the registers that were read. If it has no value, `reason` says why."""

    name: str
    unit: str | None
    value: float | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class SentRequest:
    """A request as a poll sends it, and its reply. If it was split, `tracked` has the smaller requests."""

    tracked: TrackedRequest
    reply: Reply

    @property
    def request(self) -> Request:
        """The registers."""
        return self.tracked.request


@dataclass(frozen=True, slots=True)
class Note:
    """A note about what a poll copes with, and a command or advice that removes the cause, if there is one."""

    text: str
    remedy: str | None = None


@dataclass(slots=True)
class MeterCheck:
    """The result of a check so far."""

    meter: EnergyMeter
    meter_type: MeterType
    accepted: Collection[str] = ()
    """The measurements whose absence a person has accepted."""
    connected_s: float | None = None
    failure: TransportError | None = None
    """Why the check ended early: no connection, or no list of SunSpec models."""
    registers: list[RegisterCheck] = field(default_factory=list)
    sums: list[SumCheck] = field(default_factory=list)
    planned: list[SentRequest] = field(default_factory=list)
    """The requests of a poll."""
    smaller: list[SentRequest] = field(default_factory=list)
    """The requests that a poll sends after an exception reply, to find out which registers the device refuses."""
    explanation: str | None = None
    """The failure that a virtual server reports of itself."""
    remark: str | None = None
    """Measurements that no SunSpec model of the device provides."""
    left_out: int = 0
    """Number of registers that were not read because the check ended early."""
    notes: list[Note] = field(default_factory=list)
    """Notes about what a poll copes with; set at the end of the check."""

    @property
    def failed_registers(self) -> list[RegisterCheck]:
        """The registers that a poll cannot read, without those whose absence a person has accepted."""
        return [each for each in self.registers if each.failure and not self.copes_with(each)]

    def copes_with(self, each: RegisterCheck) -> bool:
        """Whether a poll reads a register that could not be read singly, or does without it.

        It does without a label that the device refuses, and without a measurement whose absence a person has accepted.
        """
        is_refused = each.failure is not None and each.failure.exception_code in UNSUPPORTED
        is_accepted = each.register.measurement_name in self.accepted
        return (is_refused and (is_accepted or each.is_label)) or self.is_read_by_poll(each.register)

    def is_read_by_poll(self, register: Register) -> bool:
        """Whether one of the requests of a poll brought the register."""
        return any(leaf.was_read and leaf.request.covers(register) for leaf in self._leaves())

    @property
    def implausible(self) -> list[RegisterCheck]:
        """The registers whose values cannot be right."""
        return [each for each in self.registers if each.implausible]

    @property
    def failed_requests(self) -> list[SentRequest]:
        """The requests of a poll that failed although their registers could be read singly."""
        failed = {leaf.request for leaf in self._leaves() if not leaf.was_read}
        unread = [each.register for each in self.registers if each.failure]
        return [
            each
            for each in (*self.planned, *self.smaller)
            if each.request in failed and not any(map(each.request.covers, unread))
        ]

    def _leaves(self) -> Iterator[TrackedRequest]:
        for each in self.planned:
            yield from each.tracked.leaves

    @property
    def replies(self) -> list[Reply]:
        """All replies, also failed ones."""
        of_requests = [each.reply for each in (*self.planned, *self.smaller)]
        return [*(each.reply for each in self.registers), *of_requests]

    @property
    def notices(self) -> list[str]:
        """Notices about unusual replies that were accepted."""
        return list(dict.fromkeys(notice for reply in self.replies for notice in reply.notices))

    @property
    def slowest_s(self) -> float:
        """Seconds that the slowest reply took; 0 if there was none."""
        return max((reply.seconds for reply in self.replies if reply.words), default=0.0)

    @property
    def given(self) -> list[Request]:
        """The registers that were read."""
        return [Request.of(each.register) for each in self.registers if each.reply.words]

    @property
    def verdict(self) -> Verdict:
        """OK, OK with notes, or FAILED."""
        if not self.ok:
            return Verdict.FAILED
        return Verdict.NOTES if self.notes else Verdict.OK

    @property
    def ok(self) -> bool:
        """Whether a poll would read everything, every row of the type can be used, and every value can be right."""
        return not (
            self.failure
            or self.left_out
            or self.meter_type.unusable
            or self.failed_registers
            or self.failed_requests
            or self.implausible
        )
