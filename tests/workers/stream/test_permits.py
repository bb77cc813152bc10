"""Permits: a record that rests releases one and takes one to continue; free ones are shared with new records."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.plugins.memory_loop import Running, World, answer, place_of, running
from tests.plugins.patience import wait_until
from topology.contract.records import Record, Result
from topology.ports import Rest
from workers.settings import LimitSettings
from workers.stream.permits import Permits


def session(test: Callable[[Permits], Awaitable[None]], count: int) -> None:
    async def run() -> None:
        await test(Permits(count, lambda: None))

    asyncio.run(run())


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def at_once(_: float) -> None:
    await asyncio.sleep(0)


def test_a_rest_gives_the_permit_up_and_ends_with_one() -> None:
    async def run(permits: Permits) -> None:
        permits.take()
        resting = asyncio.create_task(permits.rest(1, at_once))
        await settle()
        assert permits.free_count == 1
        permits.take()
        permits.admit()
        await settle()
        assert not resting.done()
        permits.release()
        permits.admit()
        assert permits.free_count == 0
        await resting

    session(run, 1)


def test_those_that_come_back_and_those_that_come_new_get_every_other_permit() -> None:
    async def run(permits: Permits) -> None:
        waiting = [asyncio.create_task(permits.wait()) for _ in range(6)]
        await settle()
        given = list[int]()
        for _ in range(4):
            permits.share()
            given.append(permits.free_count)
            if not permits.free_count:
                permits.release()
        assert sorted(given) == [0, 0, 1, 1]
        await settle()
        assert sum(task.done() for task in waiting) == 2
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    session(run, 1)


def test_what_the_new_ones_leave_goes_to_those_that_wait() -> None:
    async def run(permits: Permits) -> None:
        waiting = [asyncio.create_task(permits.wait()) for _ in range(4)]
        await settle()
        permits.share()
        permits.admit()
        await asyncio.gather(*waiting)
        assert permits.free_count == 0

    session(run, 4)


@pytest.mark.parametrize("is_failing", [False, True])
def test_a_permit_is_lent_while_a_model_answers_and_taken_again_however_that_ends(is_failing: bool) -> None:
    async def run(permits: Permits) -> None:
        model = asyncio.get_running_loop().create_future()
        permits.take()
        asking = asyncio.create_task(permits.lend(model))
        await settle()
        assert permits.free_count == 1
        if is_failing:
            model.set_exception(KeyError())
        else:
            model.set_result("words")
        await settle()
        assert not asking.done(), "it waits for a permit first"
        permits.admit()
        (outcome,) = await asyncio.gather(asking, return_exceptions=True)
        assert isinstance(outcome, KeyError) if is_failing else outcome == "words"
        assert permits.free_count == 0

    session(run, 1)


def test_only_so_many_permits_are_lent_at_once() -> None:
    async def run() -> None:
        permits = Permits(4, lambda: None, lent_max=2)
        model = asyncio.get_running_loop().create_future()
        asking = [asyncio.create_task(permits.lend(model)) for _ in range(2)]
        await settle()
        assert not permits.may_lend
        model.set_result(None)
        await settle()
        permits.admit()
        await asyncio.gather(*asking)
        assert permits.may_lend

    asyncio.run(run())


def test_whoever_is_cancelled_has_a_permit_all_the_same() -> None:
    """A deadline cancels a rest, and the event goes on to its end."""

    async def run(permits: Permits) -> None:
        permits.take()
        permits.take()
        asleep = asyncio.create_task(permits.rest(1000, asyncio.sleep))
        waiting = asyncio.create_task(permits.rest(0, at_once))
        await settle()
        for _ in range(4):
            permits.take()
        granted = asyncio.create_task(permits.rest(0, at_once))
        await settle()
        waiting.cancel()
        asleep.cancel()
        await settle()
        permits.admit()
        await settle()
        assert not granted.done(), "five hold a permit, of four in all"
        for _ in range(5):
            permits.release()
        permits.admit()
        await asyncio.gather(asleep, waiting, granted, return_exceptions=True)
        assert permits.free_count == 3

    session(run, 4)


class Outage:
    """`process` of a worker whose model is down until `is_up`: records of key `m` need it."""

    def __init__(self) -> None:
        self.is_up = False
        self.tries = 0

    async def process(self, record: Record, rest: Rest) -> Result:
        while record.key == b"m" and not self.is_up:
            self.tries += 1
            await rest(0.01)
        await asyncio.sleep(0)
        return answer(record)


def test_while_the_model_is_down_records_that_do_not_need_it_are_answered() -> None:
    world, outage = World(partitions=4), Outage()
    for partition in range(4):
        world.send(partition, 3, key=b"m")
        world.send(partition, 30)
    with running(world.loop(outage.process, limits=LimitSettings(in_flight_max=2))):
        world.wait_answered(120)
        assert {offset for _, offset in world.answered()} == set(range(3, 33))
        wait_until(lambda: outage.tries > 40)
        outage.is_up = True
        world.wait_answered(132)
    assert [place for place in world.answered() if place[0] == 0 and place[1] < 3] == [(0, 0), (0, 1), (0, 2)]


def test_records_that_wait_for_a_model_that_is_away_do_not_fill_the_worker() -> None:
    """As many are held beside the others as may wait for an answer; with the intake at its least, four others are."""
    world, outage = World(), AwayForMany()
    limits = LimitSettings(in_flight_max=2, awaiting_answer_max=20, wait_slow_s=1e-9)
    for offset in range(20):
        world.send(0, 1, key=b"m" + bytes([offset]))
    with running(world.loop(outage.process, limits=limits)):
        wait_until(lambda: outage.tries > 100)
        world.send(0, 8)
        world.wait_answered(8)
        assert {offset for _, offset in world.answered()} == set(range(20, 28))
        outage.is_up = True
        world.wait_answered(28)


class AwayForMany(Outage):
    """As `Outage`, for every key that begins with `m`."""

    async def process(self, record: Record, rest: Rest) -> Result:
        while record.key is not None and record.key.startswith(b"m") and not self.is_up:
            self.tries += 1
            await rest(0.01)
        return answer(record)


def test_no_more_run_at_once_than_there_are_permits_whoever_rests() -> None:
    world = World()
    counts = {"now": 0, "most": 0}

    async def process(record: Record, rest: Rest) -> Result:
        for _ in range(3):
            counts["now"] += 1
            counts["most"] = max(counts.values())
            await asyncio.sleep(0.001)
            counts["now"] -= 1
            await rest(0.001)
        return answer(record)

    world.send(0, 40)
    with running(world.loop(process, limits=LimitSettings(in_flight_max=4))):
        world.wait_answered(40)
    assert counts["most"] == 4


class Silence:
    """`process` of a worker whose model takes connections and says nothing until `is_speaking`: key `m` needs it."""

    def __init__(self) -> None:
        self.asked_count = 0
        self.is_speaking = False

    async def process(self, record: Record, rest: Rest) -> Result:
        if record.key == b"m" + bytes([record.offset]):
            self.asked_count += 1
            await rest.during(self._speech())
        return answer(record)

    async def _speech(self) -> None:
        while not self.is_speaking:  # noqa: ASYNC110 (set by another thread)
            await asyncio.sleep(0.005)


@pytest.mark.parametrize(("waiting_max", "asked_count"), [(20, 12), (6, 8)])
def test_records_that_need_no_model_pass_by_one_that_is_silent(waiting_max: int, asked_count: int) -> None:
    world, silence = World(), Silence()
    limits = LimitSettings(in_flight_max=2, awaiting_answer_max=waiting_max)
    for offset in range(12):
        world.send(0, 1, key=b"m" + bytes([offset]))
    with running(world.loop(silence.process, limits=limits)):
        wait_until(lambda: silence.asked_count == asked_count)
        world.send(0, 8)
        if waiting_max >= 12:
            world.wait_answered(8)
            assert {offset for _, offset in world.answered()} == set(range(12, 20))
        silence.is_speaking = True
        world.wait_answered(20)


def test_a_drain_cancels_who_rests_and_the_record_is_read_again() -> None:
    world, started = World(), list[tuple[int, int]]()

    async def process(record: Record, rest: Rest) -> Result:
        started.append(place_of(record))
        await rest(1000)
        return answer(record)

    world.send(0, 1)
    for count in (1, 2):
        run = Running(World(broker=world.broker).loop(process))
        wait_until(lambda count=count: len(started) == count)
        run.drain(0)
        assert run.error is None
    assert world.committed() is None
