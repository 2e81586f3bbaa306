"""A meter reading of a SunSpec device: find its models in the device's list first, then read them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from emm_pipeline.fleet import model_header
from emm_pipeline.modbus.exception_codes import ILLEGAL_FUNCTION, UNSUPPORTED
from emm_pipeline.modbus.last_requests import LastRequests
from emm_pipeline.modbus.meter_poll import MeterPoll
from emm_pipeline.modbus.planning import Plans
from emm_pipeline.modbus.sunspec.models import ModelSearch, is_where_it_was, missing, read_ends
from emm_pipeline.modbus.unsupported import known_unsupported
from emm_pipeline.readings import Failure, FailureKind, MeterReading

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from emm_pipeline.readings import Request, UnsupportedRange


@dataclass(eq=False)
class ModelPoll(MeterPoll):
    """A `MeterPoll` for a type that has models.

    `known` are the addresses of the models in an earlier reading. The models are searched for if these are not known,
    or if the device's replies show that they are no longer right; registers read until then are discarded.
    """

    plans: Plans = field(default_factory=lambda: Plans({}))
    known: Mapping[int, int] | None = None
    reads_labels: bool = False
    found: dict[int, int] | None = None
    """Addresses found by a search in this reading."""
    _found_all: bool = False
    _search: ModelSearch | None = None
    _paused: bool = False

    def __post_init__(self) -> None:
        self._tracked, self._this_turn, self._next_turn = [], deque(), []
        if self.known is None:
            self._search = ModelSearch()
        else:
            self._use(self.known)

    @property
    def is_done(self) -> bool:
        """Whether no requests are left for another turn."""
        return self._search is None and super().is_done

    def begin_turn(self) -> None:
        """Begin a turn."""
        self._paused = False
        super().begin_turn()

    @property
    def next_request(self) -> Request | None:
        """Return the next request of this turn; None at its end."""
        if self._search:
            return None if self._paused else self._search.request
        return super().next_request

    def take_registers(self, data: bytes) -> None:
        """Add the registers of the reply, or continue the search with them."""
        if self._search:
            self._note_reply()
            self._busy = None
            self._search.take(data)
            self._go_on()
            return
        super().take_registers(data)
        if self.found is None and not is_where_it_was(self.blocks[-1], self.meter_type):
            self._search_anew()

    def _take_final_exception(self, failure: Failure, exception_code: int) -> None:
        if self._search is None:
            if self.found is None and exception_code in UNSUPPORTED:
                self._search_anew()
            else:
                super()._take_final_exception(failure, exception_code)
        elif exception_code in UNSUPPORTED or exception_code == ILLEGAL_FUNCTION:
            self._search.take_exception()
            self._go_on()
        else:
            self.failure = failure
            self._give_up()

    def fail_request(self, kind: FailureKind, reason: str) -> None:
        """The request brought no reply, or none to be trusted. A search ends with that."""
        if self._search:
            self.failure = self._failure(kind, reason)
            self._give_up()
        else:
            super().fail_request(kind, reason)

    def _leave_for_another_turn(self, failure: Failure) -> None:
        self._paused = True
        super()._leave_for_another_turn(failure)

    def _give_up(self) -> None:
        self._search = None
        super()._give_up()

    def _next_request_in_words(self) -> str:
        if self._search:
            return f"{self._search.request} (the list of its SunSpec models)"
        return super()._next_request_in_words()

    def _search_anew(self) -> None:
        self.blocks.clear()
        self._give_up()
        self._search = ModelSearch()

    def _go_on(self) -> None:
        """If the search has ended, plan the registers at the addresses found, for the same turn."""
        search = self._search
        if search is None or search.request:
            return
        self._search = None
        self.found, self._found_all = search.found, search.complete
        self.known_unsupported = self._still_true(self.known_unsupported)
        if search.failure:
            self.failure = Failure(FailureKind.CONFIGURATION, self._located(search.failure))
        self._use(search.found)
        super().begin_turn()

    def _use(self, addresses: Mapping[int, int]) -> None:
        """Plan the registers at the device's addresses; registers without a model are planned in any case."""
        self.meter_type = self.plans.located(self.meter.type, addresses)
        if self.meter_type.measured:
            plan = self.plans.requests(
                self.meter_type,
                known_unsupported((*self.known_unsupported, *self.earlier.silent), self.meter_type.asked),
            )
        else:
            plan = self._missing() or "there are no registers"
        if not isinstance(plan, str) and (self.found is not None or self._is_verified_by(plan)):
            labels = self.plans.label_requests(self.meter_type) if self.reads_labels else ()
            self.last = LastRequests(self.plans.confirmations(self.meter_type, plan), labels)
            self.set_requests(plan)
        elif not isinstance(plan, str):
            self._search = ModelSearch()
        elif self.failure is None:
            self.fail(FailureKind.CONFIGURATION, plan)

    @property
    def _addresses(self) -> Mapping[int, int]:
        return self.known or {} if self.found is None else self.found

    def _is_verified_by(self, plan: Iterable[Request]) -> bool:
        """Whether the requests include each model's header; they omit it if it is among unsupported registers."""
        headers = [model_header(model, address) for model, address in self.meter_type.models]
        return all(any(request.covers(each) for request in plan) for each in headers)

    def _still_true(self, ranges: Iterable[UnsupportedRange]) -> tuple[UnsupportedRange, ...]:
        """Return the unsupported registers that the search has not read; an empty tuple if models have moved."""
        if self.known is not None and self.found != self.known:
            return ()
        begins = (self.found or {}).values()
        return tuple(each for each in ranges if not any(each.address < at + 2 and at < each.end for at in begins))

    def _missing(self) -> str | None:
        return missing(self.plans.types[self.meter.type], self.meter_type, self._addresses)

    def reading(self) -> MeterReading:
        """Return the meter as read so far, with the addresses of its models, and a notice about missing ones.

        Registers of a model are used only if they are before its end and its header was read too.
        """
        reading = super().reading()  # decodes labels where they were found, ends or not
        if self.blocks:
            ends = read_ends(self.blocks, self.meter_type)
            self.meter_type = self.plans.located(self.meter.type, self._addresses, ends)
        notice = self._missing() if self.blocks else None
        notices = (*reading.notices, notice) if notice else reading.notices
        # If the search was incomplete or found no usable model, the next poll searches again.
        is_news = self._found_all and self.meter_type.measured and self.found != self.known
        models = self.found if is_news else None
        return replace(reading, notices=notices, located_type=self.meter_type, models=models)
