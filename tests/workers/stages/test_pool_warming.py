"""A stage actor that starts gets no batch before it has answered; one that serves for too long leaves it to another."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, NoReturn

import msgspec
import pytest
from ray.exceptions import ActorUnavailableError

from tests.contracts.samples import check_input
from tests.plugins.actor_handles import ActorHandle
from topology.contract.drafts import CheckReport
from topology.contract.errors import CheckFailed
from topology.contract.labels import Outcome
from workers.settings import StageSettings
from workers.stages.calls import Reports
from workers.stages.pool import ActorRunner

REPORT = CheckReport(check="bias", version="1")
SETTINGS = StageSettings(placement="actor", timeout_s=20)


async def answered(*_given: object) -> bytes:
    return msgspec.msgpack.encode(Reports((REPORT,)))


async def healthy() -> str:
    return "well"


async def never() -> None:
    await asyncio.Event().wait()


async def unavailable(*_given: object) -> NoReturn:
    raise ActorUnavailableError("restarting", None)


async def run(runner: ActorRunner) -> Sequence[CheckReport]:
    try:
        return await runner.run([runner.prepare(check_input())])
    finally:
        runner.close()


def test_a_batch_goes_to_an_actor_that_has_answered() -> None:
    actor = ActorHandle(answered, healthy)
    assert asyncio.run(run(ActorRunner("bias", [actor], SETTINGS))) == (REPORT,)
    assert (actor.health.call_count, actor.run.call_count) == (1, 1)


def test_an_actor_that_is_still_warming_gets_no_batch() -> None:
    warming, warm = ActorHandle(answered, never), ActorHandle(answered, healthy)
    runner = ActorRunner("bias", [warming, warm], SETTINGS)

    async def session() -> None:
        for _ in range(3):
            await runner.run([runner.prepare(check_input())])
        runner.close()

    asyncio.run(session())
    assert warm.run.call_count == 3
    assert (warming.health.call_count, warming.run.call_count) == (1, 0)


def test_a_batch_waits_for_the_first_actor_that_is_warm() -> None:
    async def session() -> Sequence[CheckReport]:
        is_asked, is_warm = asyncio.Event(), asyncio.Event()

        async def late() -> None:
            is_asked.set()
            await is_warm.wait()

        actor = ActorHandle(answered, late)
        task = asyncio.create_task(run(ActorRunner("bias", [actor], SETTINGS)))
        await is_asked.wait()
        assert actor.run.call_count == 0
        is_warm.set()
        return await task

    assert asyncio.run(session()) == (REPORT,)


def test_an_actor_that_was_lost_is_asked_again_before_it_gets_a_batch() -> None:
    """Its first batch finds it restarting; its next answer to `health` makes it warm again."""
    states = iter([unavailable, answered])

    def next_state(*given: object) -> Awaitable[object]:
        return next(states)(*given)

    actor = ActorHandle(next_state, healthy)
    assert asyncio.run(run(ActorRunner("bias", [actor], SETTINGS))) == (REPORT,)
    assert (actor.health.call_count, actor.run.call_count) == (2, 2)


def test_a_batch_that_no_actor_is_warm_for_is_late() -> None:
    actor = ActorHandle(answered, never)
    runner = ActorRunner("bias", [actor], StageSettings(placement="actor", timeout_s=0.05))
    with pytest.raises(CheckFailed) as caught:
        asyncio.run(run(runner))
    assert caught.value.outcome is Outcome.TIMEOUT
    assert actor.run.call_count == 0


class Busy(NamedTuple):
    """What an actor says of its present draft."""

    busy_s: float


def busy(busy_s: float) -> Callable[[], Awaitable[Busy]]:
    async def health() -> Busy:
        return Busy(busy_s)

    return health


async def late(*_given: object) -> bytes:
    await asyncio.sleep(3 * QUICK.timeout_s)
    return await answered()


async def endless(*_given: object) -> NoReturn:
    await asyncio.Event().wait()
    raise AssertionError


QUICK = StageSettings(placement="actor", timeout_s=0.1)


def test_a_batch_that_waits_its_turn_in_an_actor_is_not_late_nor_judged_twice() -> None:
    actors = [ActorHandle(late, busy(0.0)), ActorHandle(late, busy(0.0))]
    assert asyncio.run(run(ActorRunner("bias", actors, QUICK))) == (REPORT,)
    assert sum(actor.run.call_count for actor in actors) == 1


def test_an_actor_that_serves_a_draft_for_too_long_leaves_the_batch_to_another() -> None:
    stuck, other = ActorHandle(endless, busy(9.0)), ActorHandle(answered, busy(0.0))
    assert asyncio.run(run(ActorRunner("bias", [stuck, other], QUICK))) == (REPORT,)
    alone = ActorHandle(endless, busy(9.0))
    with pytest.raises(CheckFailed) as caught:
        asyncio.run(run(ActorRunner("bias", [alone], QUICK)))
    assert caught.value.outcome is Outcome.TIMEOUT
