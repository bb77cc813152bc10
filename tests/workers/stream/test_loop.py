"""The loop on the broker in memory: order, aborts, changes of membership, back-pressure, drain, and what ends it."""

import asyncio
from collections.abc import Sequence

import pytest
from msgspec import structs

from tests.plugins.memory_loop import (
    AUDIT,
    INPUT,
    OUTPUT,
    WAIT_S,
    Desk,
    Running,
    World,
    answer,
    running,
)
from tests.plugins.patience import wait_until
from topology.contract.errors import RetryLater
from topology.contract.labels import Outcome
from topology.contract.records import OutRecord, Ownership, PartitionOffset, Record, Result
from topology.ports import Rest
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from workers.development.memory_broker import FakeSink, FakeSource, instance_id
from workers.kafka.errors import SlotFenced
from workers.settings import LimitSettings
from workers.stream.loop import LoopState
from workers.stream.polling import POLL_TIMEOUT_S

MINE = instance_id("group", 0)
IDLE_POLLS = 5


def places(partition: int, count: int, start: int = 0) -> list[tuple[int, int]]:
    return [(partition, offset) for offset in range(start, count)]


def test_results_leave_as_they_finish_and_the_consumed_position_waits_for_the_slowest() -> None:
    world, desk = World(), Desk((0, 0), (0, 3))
    world.send(0, 6)
    with running(world.loop(desk.process)):
        world.wait_answered(4)
        assert world.answered() == [(0, 1), (0, 2), (0, 4), (0, 5)]
        assert world.committed() == 0
        desk.release((0, 3))
        world.wait_answered(5)
        assert world.committed() == 0
        desk.release((0, 0))
        world.wait_answered(6)
    assert world.answered() == [(0, 1), (0, 2), (0, 4), (0, 5), (0, 3), (0, 0)]
    assert world.answered(AUDIT) == world.answered()
    assert world.committed() == 6


def test_a_slow_record_holds_back_only_its_own_key() -> None:
    world, desk = World(), Desk((0, 1))
    world.send(0, 3, key=b"slow")
    world.send(0, 2, key=b"other")
    world.send(1, 5)
    with running(world.loop(desk.process)):
        world.wait_answered(8)
        wait_until(lambda: (world.committed(0), world.committed(1)) == (1, 5), WAIT_S)
        assert [place for place in world.answered() if place[0] == 0] == [(0, 0), (0, 3), (0, 4)]
        assert (0, 2) not in desk.started, "the next one of a key starts when the one before has finished"
        desk.release((0, 1))
        world.wait_answered(10)
    assert [place for place in world.answered() if place[0] == 0] == [(0, 0), (0, 3), (0, 4), (0, 1), (0, 2)]
    assert world.committed(0) == 5


class CountedSource(FakeSource):
    """A source that notes how long each poll may wait, and has no positions while it is undecided."""

    def __init__(self, world: World) -> None:
        super().__init__(world.broker, INPUT)
        self.waits_s: list[float] = []
        self.is_undecided = False

    def poll(self, timeout_s: float) -> Sequence[Record]:
        self.waits_s.append(timeout_s)
        return super().poll(timeout_s)

    def positions(self) -> Sequence[PartitionOffset]:
        return () if self.is_undecided else super().positions()


class CountedSink(FakeSink):
    """A sink that counts its transactions."""

    commit_count = 0

    def commit(self, records: Sequence[OutRecord], offsets: Sequence[PartitionOffset], ownership: Ownership) -> bool:
        self.commit_count += 1
        return super().commit(records, offsets, ownership)


def assert_idle(source: CountedSource, sink: CountedSink) -> None:
    """Each of the next polls may wait its whole time, and nothing is committed that would end the wait."""
    polled, commit_count = len(source.waits_s), sink.commit_count
    wait_until(lambda: len(source.waits_s) >= polled + IDLE_POLLS, WAIT_S)
    assert set(source.waits_s[polled:]) == {POLL_TIMEOUT_S}
    assert sink.commit_count == commit_count


def test_while_the_first_record_is_slow_the_loop_does_not_spin() -> None:
    world, desk = World(), Desk((0, 0))
    world.send(0, 30)
    source, world.sink = CountedSource(world), CountedSink(world.broker)
    with running(world.loop(desk.process, source=source, limits=LimitSettings(batch_events_max=10))):
        world.wait_answered(29)
        assert_idle(source, world.sink)
        desk.release((0, 0))
        world.wait_answered(30)


def test_while_nothing_can_be_committed_the_loop_does_not_spin() -> None:
    """Finished work of a partition in limbo waits, but it is not due."""
    world, desk = World(), Desk(*places(0, 4))
    world.send(0, 4)
    source, world.sink = CountedSource(world), CountedSink(world.broker)
    loop = world.loop(desk.process, source=source, limits=LimitSettings(batch_events_max=2))
    with running(loop):
        wait_until(lambda: len(desk.started) == 4, WAIT_S)
        source.is_undecided = True
        before = source.ownership()
        world.broker.rebalance()
        wait_until(lambda: source.ownership() != before, WAIT_S)
        desk.release(*places(0, 4))
        wait_until(lambda: loop.health().ready_count == 4, WAIT_S)
        assert_idle(source, world.sink)
        source.is_undecided = False
        world.wait_answered(4)
    assert len(desk.started) == 4


def test_a_result_of_another_record_ends_the_worker_and_is_never_visible() -> None:
    async def confused(record: Record, _rest: Rest) -> Result:
        return structs.replace(answer(record), offset=record.offset + 1)

    world = World()
    world.send(0, 1)
    ended = Running(world.loop(confused))
    ended.wait_ended()
    assert isinstance(ended.error, ValueError)
    assert not world.answered()


def test_after_an_aborted_transaction_its_results_are_kept_and_nothing_is_lost_or_repeated() -> None:
    world, desk = World(), Desk()
    world.send(0, 20, key=b"key")
    world.send(1, 20, key=b"key")
    world.sink.abort_next()
    with running(world.loop(desk.process)):
        world.wait_answered(40)
    assert sorted(world.answered()) == places(0, 20) + places(1, 20)
    assert [place for place in world.answered() if place[0] == 0] == places(0, 20)
    assert len(desk.started) == 40
    assert len(world.broker.records(OUTPUT, isolation="read_uncommitted")) > 40


def test_another_member_id_cancels_what_is_under_way_and_reads_it_again() -> None:
    world, desk = World(), Desk((0, 0), (0, 2))
    world.send(0, 4)
    with running(world.loop(desk.process)) as run:
        wait_until(lambda: len(desk.finished) == 2, WAIT_S)
        world.broker.expire(MINE)
        wait_until(lambda: desk.started.count((0, 2)) == 2, WAIT_S)
        assert sorted(desk.cancelled) == [(0, 0), (0, 2)]
        assert (0, 0) not in world.answered()
        desk.release((0, 0), (0, 2))
        world.wait_answered(4)
        wait_until(lambda: run.loop.health().committed_count == 4, WAIT_S)
    assert sorted(world.answered()) == places(0, 4)


def test_a_partition_that_went_to_another_member_is_left_to_it() -> None:
    world, desk = World(), Desk((0, 0), (1, 0))
    world.send(0, 2)
    world.send(1, 2)
    with running(world.loop(desk.process)):
        world.wait_answered(2)
        FakeSource(world.broker, INPUT, 1)  # takes partition 1
        wait_until(lambda: desk.cancelled == [(1, 0)], WAIT_S)
        desk.release((0, 0), (1, 0))
        world.wait_answered(3)
    assert sorted(world.answered()) == [(0, 0), (0, 1), (1, 1)]
    assert desk.started.count((0, 0)) == 1, "the partition that stayed goes on"
    assert (world.committed(0), world.committed(1)) == (2, 0)


def test_no_more_than_in_flight_max_are_processed_at_once() -> None:
    world, desk = World(), Desk(*places(0, 10))
    world.send(0, 10)
    with running(world.loop(desk.process, limits=LimitSettings(in_flight_max=3))) as run:
        wait_until(lambda: run.loop.health().held_count == 10 and len(desk.started) >= 3, WAIT_S)
        assert desk.started == places(0, 3)
        desk.release((0, 1))
        wait_until(lambda: len(desk.started) == 4, WAIT_S)
        desk.release(*places(0, 10))
        world.wait_answered(10)


def test_reading_pauses_at_the_bound_on_events_and_resumes_at_half() -> None:
    world, desk, metrics = World(), Desk(*places(0, 10)), Instruments.none()
    world.send(0, 10)
    limits = LimitSettings(queue_events_max=10)
    with running(world.loop(desk.process, limits=limits, metrics=metrics)) as run:
        wait_until(lambda: run.loop.health().paused, WAIT_S)
        world.send(0, 3)
        desk.release(*places(0, 4))
        wait_until(lambda: run.loop.health().held_count == 6, WAIT_S)
        assert run.loop.health().paused
        assert metrics.value(Metric.BACKPRESSURE_PAUSED) == 1
        assert metrics.value(Metric.EVENTS_CONSUMED, topic=INPUT) == 10
        desk.release((0, 4))
        wait_until(lambda: metrics.value(Metric.EVENTS_CONSUMED, topic=INPUT) == 13, WAIT_S)
        assert not run.loop.health().paused
        assert metrics.value(Metric.BACKPRESSURE_PAUSED) == 0
        desk.release(*places(0, 10))
        world.wait_answered(13)


def test_reading_pauses_at_the_bound_on_bytes() -> None:
    world, desk = World(), Desk(*places(0, 4))
    world.send(0, 4, value=b"v" * 300)
    with running(world.loop(desk.process, limits=LimitSettings(queue_bytes_max=1024))) as run:
        wait_until(lambda: run.loop.health().paused, WAIT_S)
        desk.release(*places(0, 4))
        wait_until(lambda: not run.loop.health().paused, WAIT_S)
    assert sorted(world.answered()) == places(0, 4)


def test_a_drain_finishes_what_is_held_and_reads_nothing_more() -> None:
    world, desk = World(), Desk(*places(0, 4))
    world.send(0, 4)
    run = Running(world.loop(desk.process))
    wait_until(lambda: len(desk.started) == 4, WAIT_S)
    run.loop.drain(WAIT_S)
    wait_until(lambda: run.loop.health().paused, WAIT_S)
    assert run.loop.health().state is LoopState.DRAINING
    world.send(0, 2)
    desk.release(*places(0, 4))
    run.wait_ended()
    assert run.error is None
    assert sorted(world.answered()) == places(0, 4)
    assert desk.started == places(0, 4)


def test_what_does_not_finish_within_the_drain_stays_uncommitted_for_the_next_holder(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world, desk = World(), Desk((0, 2))
    world.send(0, 5)
    run = Running(world.loop(desk.process))
    wait_until(lambda: len(desk.finished) == 4, WAIT_S)
    run.drain(0.3)
    assert run.error is None
    assert run.loop.health().state is LoopState.STOPPED
    assert desk.cancelled == [(0, 2)]
    (said,) = [line for line in caplog.records if "unfinished" in line.message]
    assert said.__dict__["events"] == [f"{INPUT}/0@2"]
    assert world.committed() == 2
    desk.release((0, 2))
    with running(World(broker=world.broker).loop(desk.process)):
        world.wait_answered(5)
    assert sorted(world.answered()) == places(0, 5)
    assert len(desk.started) == 6, "what was done above the committed offset is not done again"


def test_a_drain_asked_for_before_the_loop_runs_ends_it_at_once() -> None:
    world, desk = World(), Desk()
    world.send(0, 3)
    loop = world.loop(desk.process)
    loop.drain(WAIT_S)
    run = Running(loop)
    run.wait_ended()
    assert run.error is None
    assert loop.health().state is LoopState.STOPPED


@pytest.mark.parametrize("error", [ZeroDivisionError("a bug"), RetryLater(Outcome.OVERLOADED, "model", "full")])
def test_an_error_of_process_ends_the_run_with_that_error(error: Exception) -> None:
    world = World()
    world.send(0, 3)

    async def broken(record: Record, _rest: Rest) -> Result:
        if record.offset == 1:
            raise error
        return answer(record)

    run = Running(world.loop(broken))
    run.wait_ended()
    assert run.error is error
    assert run.loop.health().state is LoopState.FAILED
    assert world.committed() in {None, 1}
    run.loop.drain(1)
    assert run.loop.health().state is LoopState.FAILED, "a drain that comes too late hides nothing"


def test_a_process_that_cancels_itself_is_a_bug_and_not_a_record_that_waits_for_ever() -> None:
    world = World()
    world.send(0, 1)

    async def cancels_itself(_record: Record, _rest: Rest) -> Result:
        abandoned: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        abandoned.cancel()
        return await abandoned

    run = Running(world.loop(cancels_itself))
    run.wait_ended()
    assert run.error is not None
    assert run.loop.health().state is LoopState.FAILED
    assert world.committed() is None


def test_a_slot_that_was_taken_over_ends_the_run() -> None:
    world, desk = World(), Desk()
    run = Running(world.loop(desk.process))
    wait_until(lambda: run.loop.health().assigned, WAIT_S)
    FakeSink(world.broker)
    world.send(0, 1)
    run.wait_ended()
    assert isinstance(run.error, SlotFenced)
    assert world.answered() == []


def test_health_says_where_the_loop_is_and_what_it_holds() -> None:
    world, desk = World(), Desk((0, 0))
    loop = world.loop(desk.process)
    fresh = loop.health()
    assert (fresh.state, fresh.assigned, fresh.held_count) == (LoopState.STARTING, False, 0)
    world.send(0, 3)
    with running(loop):
        wait_until(lambda: loop.health().committed_count == 2, WAIT_S)
        health = loop.health()
        assert (health.state, health.assigned, health.paused) == (LoopState.RUNNING, True, False)
        assert (health.held_count, health.ready_count) == (1, 0)
        assert health.poll_age_s >= 0
        desk.release((0, 0))
        wait_until(lambda: loop.health().committed_count == 3, WAIT_S)
        assert loop.health().held_count == 0
    assert loop.health().state is LoopState.STOPPED
