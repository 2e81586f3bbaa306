"""Ctrl-C at any moment."""

import asyncio
import signal

import pytest

from emm_pipeline.cli import interruptible


def test_ctrl_c_while_an_event_loop_is_created_is_delayed_until_it_is_complete(monkeypatch):
    made, make = [], asyncio.new_event_loop

    def interrupted():
        signal.raise_signal(signal.SIGINT)
        made.append(make())
        return made[0]

    monkeypatch.setattr(asyncio, "new_event_loop", interrupted)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        interruptible.run(asyncio.sleep(0))
    assert made[0].is_closed()
    assert signal.getsignal(signal.SIGINT) is handler


def test_the_result_of_the_coroutine_is_returned():
    assert interruptible.run(asyncio.sleep(0, "done")) == "done"
