"""A clock of the test's own, so that no test depends on how busy the machine is.

The fixture `clock` runs meters and their reader in one event loop whose time does not pass while there is something to
do, and skips to the next timer once there is nothing. Pauses, delays and timeouts are exact, and take next to no time.

The fixture `wall_clock` is for code that sleeps until a time of the day. It moves by what was slept and nothing else.
"""

from __future__ import annotations

import asyncio
import selectors
import sys
import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta, tzinfo
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from support.meters import SimulatedGateway, SimulatedUnit

from emm_pipeline import event_loop

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator, Mapping

T = TypeVar("T")

NOON = datetime(2050, 3, 1, 12, tzinfo=UTC)
"""When each test begins; later than any build date."""

IN_FLIGHT_S = 0.05
"""How long data may be on its way through the kernel, from one end of a loopback connection to the other."""


class Clock:
    """The time: seconds since the test began, as a number, and as a time of the day."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.slept: list[float] = []
        """What was slept with `sleep`, one after the other."""

    def monotonic(self) -> float:
        """In place of `time.monotonic`."""
        return 1000.0 + self.seconds

    def now(self, zone: tzinfo | None = None) -> datetime:
        """In place of `datetime.now`."""
        return (NOON + timedelta(seconds=self.seconds)).astimezone(zone)

    def sleep(self, seconds: float) -> None:
        """In place of `time.sleep`."""
        self.slept.append(seconds)
        self.seconds += max(seconds, 0.0)

    def show_in_emm(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let each module of EMM that is loaded take the time of the day from this clock."""
        shown = _datetime_of(self)
        for name, module in list(sys.modules.items()):
            if name.startswith("emm_pipeline.") and getattr(module, "datetime", None) is datetime:
                monkeypatch.setattr(module, "datetime", shown)


def _datetime_of(clock: Clock) -> type:
    class Shown(type):
        def __call__(cls, *arguments: Any, **options: Any) -> datetime:
            return datetime(*arguments, **options)  # noqa: DTZ001 - as the caller asks

        def __getattr__(cls, name: str) -> Any:
            return getattr(datetime, name)

        def __instancecheck__(cls, value: object) -> bool:
            return isinstance(value, datetime)

    class ClockDatetime(metaclass=Shown):
        now = staticmethod(clock.now)

    return ClockDatetime


class _Selector(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    """Where nothing happens, skips the time that it was to wait."""

    def __init__(self, clock: ClockLoop) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        events = super().select(min(timeout, IN_FLIGHT_S))
        if not events and not any(thread.is_alive() for thread in self._clock.threads):
            self._clock.seconds += timeout
        return events


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, clock: ClockLoop) -> None:
        super().__init__(_Selector(clock))
        self._clock = clock

    def time(self) -> float:
        return self._clock.monotonic()


class ClockLoop(Clock):
    """The clock's loop, for coroutines and gateways. No time passes while a thread of `in_thread` works, either."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[threading.Thread] = []
        self._runner = asyncio.Runner(loop_factory=lambda: _Loop(self))
        self._gateways = ExitStack()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run the coroutine, and what the gateways do meanwhile, to its end."""
        return self._runner.run(coroutine)

    def gateway(self, units: Mapping[int, SimulatedUnit], **options: Any) -> SimulatedGateway:
        """Return a gateway that lives until the end of the test; it replies while `run` runs."""
        return self._gateways.enter_context(SimulatedGateway(units, loop=self, **options))

    def thread(self, **options: Any) -> threading.Thread:
        """In place of `threading.Thread`."""
        self.threads.append(threading.Thread(**options))
        return self.threads[-1]

    def close(self) -> None:
        """Stop the gateways and the loop."""
        self._gateways.close()
        self._runner.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[ClockLoop]:
    """A clock that gateways and their reader share; the time of the day goes on, unless it is shown to EMM."""
    clock = ClockLoop()
    monkeypatch.setattr(time, "monotonic", clock.monotonic)
    monkeypatch.setattr(event_loop, "threading", SimpleNamespace(**(vars(threading) | {"Thread": clock.thread})))
    yield clock
    clock.close()


@pytest.fixture
def wall_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time of the day for the steps of a run, which sleep until a sample is due."""
    from emm_pipeline.defs import discovery, poll

    clock = Clock()
    clock.show_in_emm(monkeypatch)
    for module in (discovery, poll):
        monkeypatch.setattr(module, "time", SimpleNamespace(sleep=clock.sleep))
    return clock
