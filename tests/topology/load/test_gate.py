"""A gate lets as many begin as its limit says, in the order of deadlines, and sheds what would be late."""

import asyncio

import pytest

from serving.fakes import ManualClock
from topology.contract.errors import TooLate
from topology.load.gate import Gate
from topology.load.limiter import Limiter, LimiterBounds
from topology.load.service import SERVICE_LIMIT

WORK_S = 1.0


class Desk:
    """A gate with room for one, and what began behind it."""

    def __init__(self, most: int = 1) -> None:
        self.clock = ManualClock()
        self.seen: list[tuple[int, int, int]] = []
        self.began: list[str] = []
        limiter = Limiter(LimiterBounds(most=most, slow_s=60), start=most)
        self.gate = Gate("bias", limiter, self.clock.monotonic_s, self._see)

    def _see(self, limit: int, begun: int, waiting: int) -> None:
        self.seen.append((limit, begun, waiting))

    async def work(self, name: str, deadline_s: float = 1000) -> None:
        async with self.gate.turn(deadline_s):
            self.began.append(name)
            await self.clock.sleep(WORK_S)

    def start(self, name: str, deadline_s: float = 1000) -> "asyncio.Task[None]":
        return asyncio.create_task(self.work(name, deadline_s))

    async def pass_time(self, seconds: float = WORK_S) -> None:
        await settle()
        self.clock.advance(seconds)
        await settle()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_the_earliest_deadline_begins_next() -> None:
    async def session() -> None:
        desk = Desk()
        tasks = [desk.start(name, at) for name, at in (("first", 900), ("late", 800), ("early", 700), ("last", 900))]
        for _ in tasks:
            await desk.pass_time()
        await asyncio.gather(*tasks)
        assert desk.began == ["first", "early", "late", "last"]
        assert (1, 1, 3) in desk.seen
        assert desk.seen[-1] == (1, 0, 0)

    asyncio.run(session())


def test_what_would_be_late_is_shed_before_it_begins_and_nothing_else_is() -> None:
    async def session() -> None:
        desk = Desk()
        await asyncio.gather(desk.start("measured"), desk.pass_time())
        tasks = [desk.start("running"), desk.start("just in time", 3.0), desk.start("too late", 2.9)]
        await desk.pass_time()
        with pytest.raises(TooLate):
            await tasks[2]
        await desk.pass_time()
        await asyncio.gather(*tasks[:2])
        assert desk.began == ["measured", "running", "just in time"]

    asyncio.run(session())


def test_a_turn_that_is_cancelled_goes_to_the_next() -> None:
    async def session() -> None:
        desk = Desk()
        running, waiting, last = desk.start("running"), desk.start("waiting"), desk.start("last")
        await settle()
        waiting.cancel()
        running.cancel()
        await settle()
        assert desk.began == ["running", "last"]
        await desk.pass_time()
        await last

    asyncio.run(session())


def test_a_turn_that_comes_while_it_is_cancelled_is_given_back() -> None:
    async def session() -> None:
        desk = Desk()
        running, waiting = desk.start("running"), desk.start("waiting")
        await settle()
        running.cancel()
        await asyncio.sleep(0)  # `running` ends, and hands its turn on
        waiting.cancel()
        await settle()
        await asyncio.gather(desk.start("last"), desk.pass_time())
        assert desk.began[-1] == "last"
        assert desk.seen[-1] == (1, 0, 0)

    asyncio.run(session())


def test_the_limit_of_a_service_does_not_count_while_it_waits() -> None:
    class Seen:
        def __init__(self) -> None:
            self.calls: list[str] = []

        def pause(self) -> None:
            self.calls.append("pause")

        def resume(self) -> None:
            self.calls.append("resume")

    async def session() -> None:
        desk, seen = Desk(), Seen()
        SERVICE_LIMIT.set(seen)
        tasks = [desk.start("running"), desk.start("waiting")]
        await settle()
        assert seen.calls == ["pause"]
        await desk.pass_time()
        assert seen.calls == ["pause", "resume"]
        await desk.pass_time()
        await asyncio.gather(*tasks)

    asyncio.run(session())
