"""The release of what a loop's process holds, on the event loop it ran on, when the loop ends."""

import asyncio
import threading

import pytest

from tests.plugins.memory_loop import WAIT_S, Running, World, answer
from tests.plugins.patience import wait_until
from topology.contract.records import Record, Result
from topology.ports import Rest

LONG_S = 3600.0


@pytest.mark.parametrize("fails", [False, True], ids=["drained", "failed"])
def test_what_process_holds_is_released_on_the_event_loop_it_ran_on(*, fails: bool) -> None:
    world = World()
    ran_on: list[object] = []
    closed_on: list[object] = []

    async def process(record: Record, _rest: Rest) -> Result:
        ran_on.append((asyncio.get_running_loop(), threading.get_ident()))
        if fails:
            raise ZeroDivisionError
        return answer(record)

    async def close() -> None:
        closed_on.append((asyncio.get_running_loop(), threading.get_ident()))

    world.send(0, 1)
    run = Running(world.loop(process, close=close))
    wait_until(lambda: bool(ran_on), WAIT_S)
    run.drain(WAIT_S)
    assert closed_on == ran_on


def test_a_task_that_goes_on_until_the_close_does_not_hold_up_the_end() -> None:
    """Such as the watch over a stage actor that is gone for good: it was waited for before its owner was closed."""
    world = World()
    world.send(0, 1)
    watches: list[asyncio.Task[None]] = []
    is_cancelled_before_the_close: list[bool] = []

    async def process(record: Record, _rest: Rest) -> Result:
        watches.append(asyncio.create_task(asyncio.sleep(LONG_S)))
        return answer(record)

    async def close() -> None:
        is_cancelled_before_the_close.append(watches[0].done())

    run = Running(world.loop(process, close=close))
    world.wait_answered(1)
    run.drain(WAIT_S)
    assert is_cancelled_before_the_close == [False]
    assert watches[0].cancelled()


def test_a_second_stop_waits_for_the_close_that_the_first_began() -> None:
    """It stopped the event loop again, and the thread died before what it held was released."""
    world = World()
    has_begun, may_end = threading.Event(), threading.Event()
    ended: list[bool] = []

    async def process(record: Record, _rest: Rest) -> Result:
        return answer(record)

    async def close() -> None:
        has_begun.set()
        await asyncio.to_thread(may_end.wait)
        ended.append(True)

    processing = world.loop(process, close=close)._processing
    processing.start()
    processing.stop(0)
    assert has_begun.wait(WAIT_S)
    processing.stop(0.1)  # while the close is under way
    may_end.set()
    processing.stop(WAIT_S)
    assert ended == [True]
