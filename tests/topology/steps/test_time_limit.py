"""A time limit ends a block that waits too long, and takes no other cancellation for its own."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from topology.load.service import SERVICE_LIMIT
from topology.steps.time_limit import ServiceTimeLimit, TimeLimit

LONG_S = 30.0
SHORT_S = 0.01
Work = Callable[[], Awaitable[None]]


def run(work: Work) -> None:
    """On the kind of event loop that a worker has."""

    async def whole() -> None:
        await work()
        task = asyncio.current_task()
        assert task is not None
        assert not task.cancelling()
        await asyncio.sleep(2 * SHORT_S)  # a timer left behind would cancel this

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(whole())


async def limited(timeout_s: float, wait_s: float) -> str:
    with TimeLimit(timeout_s):
        await asyncio.sleep(wait_s)
    return "done"


def test_a_block_in_time_goes_on() -> None:
    async def work() -> None:
        assert await limited(SHORT_S, 0) == "done"

    run(work)


@pytest.mark.parametrize("timeout_s", [SHORT_S, 0.0, -1.0])
def test_a_late_block_is_a_timeout(timeout_s: float) -> None:
    async def work() -> None:
        with pytest.raises(TimeoutError) as late:
            await limited(timeout_s, LONG_S)
        assert isinstance(late.value.__cause__, asyncio.CancelledError)

    run(work)


def test_a_block_that_does_not_wait_is_never_late() -> None:
    async def work() -> None:
        is_through = False
        with TimeLimit(0.0):
            is_through = True
        assert is_through

    run(work)


@pytest.mark.parametrize(("outer_s", "inner_s", "ended"), [(LONG_S, SHORT_S, "inner"), (SHORT_S, LONG_S, "outer")])
def test_of_two_limits_the_earlier_one_ends_its_own_block(outer_s: float, inner_s: float, ended: str) -> None:
    async def work() -> None:
        seen = ""
        try:
            with TimeLimit(outer_s):
                try:
                    await limited(inner_s, LONG_S)
                except TimeoutError:
                    seen = "inner"
        except TimeoutError:
            seen = "outer"
        assert seen == ended

    run(work)


def test_a_cancellation_from_elsewhere_stays_one() -> None:
    async def work() -> None:
        task = asyncio.create_task(limited(LONG_S, LONG_S))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(work)


def test_a_cancellation_in_the_same_moment_stays_one() -> None:
    """Both requests are made before the task runs again."""

    async def work() -> None:
        loop = asyncio.get_running_loop()

        async def cancelled_too() -> None:
            task = asyncio.current_task()
            assert task is not None
            with TimeLimit(0.0):
                loop.call_soon(task.cancel)
                await asyncio.sleep(LONG_S)

        with pytest.raises(asyncio.CancelledError):
            await asyncio.create_task(cancelled_too())

    run(work)


def test_another_error_passes_even_when_it_is_late() -> None:
    async def failing() -> None:
        with TimeLimit(SHORT_S):
            try:
                await asyncio.sleep(LONG_S)
            except asyncio.CancelledError as exc:
                raise KeyError from exc

    async def work() -> None:
        with pytest.raises(KeyError):
            await failing()

    run(work)


def test_a_block_that_ends_well_although_it_was_late_goes_on() -> None:
    async def work() -> None:
        is_cancelled = False
        with TimeLimit(SHORT_S):
            try:
                await asyncio.sleep(LONG_S)
            except asyncio.CancelledError:
                is_cancelled = True
        assert is_cancelled, "it was late"

    run(work)


def test_a_limit_does_not_count_while_it_is_paused() -> None:
    async def resumed() -> None:
        with TimeLimit(SHORT_S) as limit:
            limit.pause()
            limit.resume()
            await asyncio.sleep(LONG_S)

    async def work() -> None:
        with TimeLimit(4 * SHORT_S) as limit:
            limit.pause()
            limit.pause()
            await asyncio.sleep(5 * SHORT_S)
            limit.resume()
            await asyncio.sleep(5 * SHORT_S)
            limit.resume()
        with pytest.raises(TimeoutError):
            await resumed()

    run(work)


def test_who_waits_inside_a_service_finds_its_limit() -> None:
    async def work() -> None:
        with ServiceTimeLimit(LONG_S) as outer:
            with ServiceTimeLimit(LONG_S) as inner:
                assert SERVICE_LIMIT.get() is inner
            assert SERVICE_LIMIT.get() is outer
        assert SERVICE_LIMIT.get() is None

    run(work)
