"""The event loop in which meters are read: a signal ends it at once, and its handler is called."""

import asyncio
import os
import signal
import subprocess
import sys
import threading

import pytest

from emm_pipeline.event_loop import run_fast


class EndedByDagsterError(BaseException):
    """An exception of a signal handler other than KeyboardInterrupt."""


@pytest.fixture
def handled():
    """Handles both signals as Dagster's run worker does."""

    def end(*_):
        raise EndedByDagsterError

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    yield end
    for number, handler in before.items():
        signal.signal(number, handler)


async def wait_for_long(cancelled):
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        cancelled.append(True)
        raise


async def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_loop_is_cleaned_up_after_and_reaches_its_handler(handled, number):
    cancelled, cleaned_up = [], []

    async def wait_in_tasks():
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(3):
                    tasks.create_task(wait_for_long(cancelled))
                tasks.create_task(send(number))
        finally:
            cleaned_up.append(True)

    with pytest.raises(EndedByDagsterError):
        run_fast(wait_in_tasks())
    assert cancelled == [True] * 3
    assert cleaned_up
    assert signal.getsignal(number) is handled


def test_a_signal_during_the_last_moments_is_not_lost(handled):
    async def end_despite_it():
        os.kill(os.getpid(), signal.SIGINT)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "done"

    with pytest.raises(EndedByDagsterError):
        run_fast(end_despite_it())


def test_ctrl_c_is_a_keyboard_interrupt():
    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # processes that a shell starts in the background ignore it

    async def interrupt_itself():
        await send(signal.SIGINT)
        await asyncio.sleep(60)
        pytest.fail("the signal did not end it")

    try:
        with pytest.raises(KeyboardInterrupt):
            run_fast(interrupt_itself())
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_signal_without_a_handler_ends_the_process():
    program = (
        "import asyncio; from emm_pipeline.event_loop import run_fast; print(flush=True); run_fast(asyncio.sleep(60))"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == -signal.SIGTERM


def test_it_runs_in_any_thread_and_gives_what_the_coroutine_does():
    async def answer():
        return 42

    results = []
    thread = threading.Thread(target=lambda: results.append(run_fast(answer())))
    thread.start()
    thread.join()
    assert results == [42]
    with pytest.raises(ZeroDivisionError):
        run_fast(fail())


async def fail():
    raise ZeroDivisionError
