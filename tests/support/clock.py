"""A simulated clock, so that no test depends on how busy the machine is.

The fixture `clock` runs meters and their reader in one event loop. Its time does not pass while there is work, and
jumps to the next timer when there is none. Pauses, delays and timeouts are exact, and take almost no real time.

The fixture `wall_clock` is for code that sleeps until a time of day. It advances only by the time that was slept.
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
"""The time at which each test begins by default; later than any build date."""

IN_FLIGHT_S = 0.05
"""Maximum time in seconds that data may take between the ends of a loopback connection."""


class Clock:
    """The time: as seconds since the test began, and as a time of day.

    Args:
        began: the time of day (aware) at which the test begins.
    """

    def __init__(self, began: datetime = NOON) -> None:
        self.began = began
        self.seconds = 0.0
        self.slept: list[float] = []
        """The durations of all calls of `sleep`, in order."""

    def monotonic(self) -> float:
        """Replacement for `time.monotonic`."""
        return 1000.0 + self.seconds

    def now(self, zone: tzinfo | None = None) -> datetime:
        """Replacement for `datetime.now`."""
        return (self.began + timedelta(seconds=self.seconds)).astimezone(zone)

    def sleep(self, seconds: float) -> None:
        """Replacement for `time.sleep`."""
        self.slept.append(seconds)
        self.seconds += max(seconds, 0.0)

    def show_in_emm(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make each loaded module of EMM use this clock as the time of day."""
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
    """Skips the waiting time if there are no events."""

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
    """The clock's event loop, for coroutines and gateways. Time does not pass while a thread of `in_thread` works."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[threading.Thread] = []
        self._runner = asyncio.Runner(loop_factory=lambda: _Loop(self))
        self._gateways = ExitStack()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run the coroutine to its end, together with the gateways."""
        return self._runner.run(coroutine)

    def gateway(self, units: Mapping[int, SimulatedUnit], **options: Any) -> SimulatedGateway:
        """Return a gateway that exists until the end of the test; it replies while `run` is executed."""
        return self._gateways.enter_context(SimulatedGateway(units, loop=self, **options))

    def thread(self, **options: Any) -> threading.Thread:
        """Replacement for `threading.Thread`."""
        self.threads.append(threading.Thread(**options))
        return self.threads[-1]

    def close(self) -> None:
        """Stop the gateways and the loop."""
        self._gateways.close()
        self._runner.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[ClockLoop]:
    """A clock that gateways and their reader share; the time of day is the real one, unless `show_in_emm` is called."""
    clock = ClockLoop()
    monkeypatch.setattr(time, "monotonic", clock.monotonic)
    monkeypatch.setattr(event_loop, "threading", SimpleNamespace(**(vars(threading) | {"Thread": clock.thread})))
    yield clock
    clock.close()


@pytest.fixture
def wall_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time of day for the steps of a run, which sleep until a sample time."""
    from emm_pipeline.defs import discovery, reading

    clock = Clock()
    clock.show_in_emm(monkeypatch)
    for module in (discovery, reading):
        monkeypatch.setattr(module, "time", SimpleNamespace(sleep=clock.sleep))
    return clock
