"""The parameters of a scan, its callbacks, and its result so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emm_pipeline.commissioning.ranking import Ranking

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from emm_pipeline.commissioning.candidates import Candidate
    from emm_pipeline.fleet import GatewayAddress
    from emm_pipeline.modbus.session import Reply, Timing
    from emm_pipeline.readings import Request


@dataclass(frozen=True, slots=True)
class FoundUnit:
    """A unit that replied, with its reply and its possible types."""

    unit_id: int
    reply: Reply
    candidates: tuple[Candidate, ...] | None = None
    """None until it was compared with the catalogue; also if it is too slow for that."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """The labels of the unit, name to text, if its likeliest type has any."""
    late_s: float | None = None
    """Time of its first reply, if that came after the timeout."""
    same_as: int | None = None
    """The unit id at which the same device was found before; it is not compared again."""


@dataclass(slots=True)
class Scan:
    """The result of a scan so far, which can be read while the scan runs and after it was interrupted."""

    units: Sequence[int]
    asked: int = 0
    found: list[FoundUnit] = field(default_factory=list)
    advice: str | None = None
    """Advice about the replies of the unclear units, if their cause is known."""
    notices: list[str] = field(default_factory=list)
    """Notices about unusual replies that were accepted."""
    unclear: dict[int, str] = field(default_factory=dict)
    """Units that neither sent a valid reply nor were silent, with the reason."""
    slow_s: float | None = None
    """Time in which the gateway reports that a unit is absent, if that is longer than the timeout: all units get it."""
    was_patient: bool = False
    """Whether the long timeout has been tried."""
    replied: bool = False
    """Whether any reply came, also one that finds no unit."""
    silent: list[int] = field(default_factory=list)
    """Units that sent nothing."""
    perhaps_lost: list[int] = field(default_factory=list)
    """Units that were silent at the first request of a connection, which the gateway may have lost."""
    resend_after_s: float | None = None
    """If set, the first request of each connection is sent again after this time."""

    def take(self, other: Scan) -> None:
        """Replace its result by that of another scan."""
        for name in self.__slots__:
            setattr(self, name, getattr(other, name))

    def add(self, unit: FoundUnit) -> None:
        """Add a unit, or replace it, in the order in which the units were named."""
        others = [each for each in self.found if each.unit_id != unit.unit_id]
        place = {unit_id: place for place, unit_id in enumerate(self.units)}
        self.found[:] = sorted([*others, unit], key=lambda each: place[each.unit_id])

    @property
    def all_reply(self) -> bool:
        """Whether more than 10 units were asked and all replied: it is probably one device that ignores unit ids."""
        return len(self.found) == self.asked > 10  # noqa: PLR2004 - so many units without a gap are unlikely

    @property
    def is_unknown_device(self) -> bool:
        """Whether all units reply, and none of them is in the catalogue: to compare further ones would take an hour."""
        return self.all_reply and not any(each.candidates for each in self.found)


@dataclass(frozen=True, slots=True)
class Probe:
    """The parameters of a scan: gateway, request, timing, and the types that are compared."""

    gateway: GatewayAddress
    request: Request
    timing: Timing
    ranking: Ranking = field(default_factory=lambda: Ranking(()))
    is_shared: bool = True
    """Whether polls may use the gateway during the scan."""


@dataclass(frozen=True, slots=True)
class Watcher:
    """Callbacks of a scan.

    `on_unit` is called after each unit that was asked, `on_wait` when the scan waits for a poll, `on_other` when it
    tries another framing, and `on_again` when it asks all units again.
    """

    on_unit: Callable[[], None]
    on_wait: Callable[[], None] | None = None
    on_other: Callable[[GatewayAddress], None] = lambda _: None
    on_again: Callable[[], None] = lambda: None
