"""The loop on a broker in memory: nothing is processed twice without need, and no key waits for another."""

import asyncio
import threading
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from tests.plugins.patience import wait_until
from topology.contract.records import OutRecord, PartitionOffset, Record, Result
from topology.delivery.offset_map import decode
from topology.ports import Rest
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from topology.telemetry.tracing import Tracing
from workers.development.memory_broker import FakeBroker, FakeSink, FakeSource
from workers.process.clock import SystemClock
from workers.settings import LimitSettings
from workers.stream.loop import Loop, LoopState

WAIT_S = 60.0


class Work:
    """Answers at once; what is in `stuck` waits until it is taken out. Counts the calls per value."""

    def __init__(self) -> None:
        self.calls: Counter[bytes] = Counter()
        self.stuck: set[bytes] = set()
        self.running: Counter[bytes] = Counter()
        self.running_most = 0

    async def process(self, record: Record, _rest: Rest) -> Result:
        value, key = record.value or b"", record.key or b""
        self.calls[value] += 1
        self.running[key] += 1
        self.running_most = max(self.running_most, self.running[key])
        try:
            while value in self.stuck:  # noqa: ASYNC110 - changed from another thread
                await asyncio.sleep(0.005)
        finally:
            self.running[key] -= 1
        out = OutRecord(topic="out", key=record.key, value=value)
        return Result(topic=record.topic, partition=record.partition, offset=record.offset, records=(out,))


class World:
    def __init__(self, partitions: int = 1) -> None:
        self.broker = FakeBroker()
        self.broker.create_topic("in", partitions)
        self.broker.create_topic("out")
        self.work = Work()

    def send(self, *values: str) -> None:
        """`a1` has the key `a`."""
        for value in values:
            self.broker.send("in", value.encode(), key=value[:1].encode(), partition=0)

    def output(self) -> list[str]:
        return [(record.value or b"").decode() for record in self.broker.records("out")]

    def position(self) -> PartitionOffset:
        return self.broker.position("in", 0)

    @contextmanager
    def worker(
        self, *, drain_s: float = 5.0, slot: int = 0, metrics: Instruments | None = None, **limits: int
    ) -> Generator[tuple[Loop, FakeSink]]:
        sink = FakeSink(self.broker, slot)
        loop = Loop(
            FakeSource(self.broker, "in", slot),
            sink,
            self.work.process,
            clock=SystemClock(),
            limits=LimitSettings(**limits),
            metrics=metrics or Instruments.none(),
            tracing=Tracing.none(),
        )
        thread = threading.Thread(target=loop.run)
        thread.start()
        try:
            yield loop, sink
        finally:
            loop.drain(drain_s)
            thread.join(WAIT_S)
        assert loop.health().state is LoopState.STOPPED


def test_a_stuck_key_holds_up_nobody_else_and_keeps_its_own_order() -> None:
    world = World()
    world.work.stuck = {b"a1"}
    with world.worker():
        world.send("a1", "b1", "a2", "c1", "b2")
        wait_until(lambda: world.output() == ["b1", "c1", "b2"])
        assert world.position().offset == 0
        assert world.work.calls[b"a2"] == 0
        world.work.stuck.clear()
        wait_until(lambda: world.output() == ["b1", "c1", "b2", "a1", "a2"])
    assert world.position() == PartitionOffset(topic="in", partition=0, offset=5)
    assert world.work.running_most == 1


def test_what_is_done_above_a_stuck_record_is_not_done_again_by_the_next_worker() -> None:
    world = World()
    world.work.stuck = {b"a1"}
    with world.worker(drain_s=0.0):
        world.send("a1", "b1", "a2", "c1")
        wait_until(lambda: len(world.output()) == 2)
    at = world.position()
    assert decode(at.metadata, at.offset).incomplete == (0, 2)
    world.work.stuck.clear()
    with world.worker():
        wait_until(lambda: len(world.output()) == 4)
    assert world.output() == ["b1", "c1", "a1", "a2"]
    assert world.work.calls == {b"a1": 2, b"b1": 1, b"a2": 1, b"c1": 1}


def test_results_of_a_failed_transaction_are_kept() -> None:
    world = World()
    with world.worker() as (_, sink):
        sink.abort_next()
        world.send("a1", "b1", "a2")
        wait_until(lambda: sorted(world.output()) == ["a1", "a2", "b1"])
    assert set(world.work.calls.values()) == {1}


def test_work_goes_on_across_a_rebalance_that_gives_the_partition_back() -> None:
    world = World()
    world.work.stuck = {b"a1"}
    with world.worker() as (loop, _):
        world.send("a1", "b1")
        wait_until(lambda: world.output() == ["b1"])
        world.broker.rebalance()
        world.send("c1")
        wait_until(lambda: world.output() == ["b1", "c1"])
        world.work.stuck.clear()
        wait_until(lambda: loop.health().committed_count == 3)
    assert world.output() == ["b1", "c1", "a1"]
    assert set(world.work.calls.values()) == {1}


def test_work_of_a_session_that_ended_is_dropped_and_done_again() -> None:
    world = World()
    world.work.stuck = {b"a1"}
    with world.worker():
        world.send("a1", "b1")
        wait_until(lambda: world.output() == ["b1"])
        world.broker.expire("group.fake.0")
        wait_until(lambda: world.work.calls[b"a1"] == 2)
        world.work.stuck.clear()
        wait_until(lambda: world.output() == ["b1", "a1"])
    assert world.work.calls[b"b1"] == 1


def test_two_workers_take_over_from_each_other_without_a_repetition() -> None:
    world = World(partitions=2)
    values = [f"{key}{number}" for number in range(30) for key in "abcdefgh"]
    with world.worker(slot=0):
        world.send(*values[:80])
        with world.worker(slot=1):
            world.send(*values[80:160])
            wait_until(lambda: len(world.output()) >= 100)
        world.broker.expire("group.fake.1")
        world.send(*values[160:])
        wait_until(lambda: len(world.output()) >= len(values))
    found = world.output()
    assert sorted(found) == sorted(values)
    for key in "abcdefgh":
        assert [value for value in found if value[0] == key] == [value for value in values if value[0] == key]


def test_a_drain_commits_what_finished_and_lists_the_rest() -> None:
    world = World()
    world.work.stuck = {b"a1"}
    values = [f"b{number}" for number in range(300)]
    with world.worker(drain_s=0.3, in_flight_max=8):
        world.send("a1", *values)
        wait_until(lambda: len(world.work.calls) > 50)
    assert world.output() == [value for value in values if world.work.calls[value.encode()]]


def test_a_partition_with_an_unreadable_map_stops_and_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    world = World(partitions=2)
    world.send("a1", "b1")
    world.broker.send("in", b"c1", key=b"c", partition=1)
    source, sink = FakeSource(world.broker, "in"), FakeSink(world.broker)
    source.poll(0)
    ownership = source.ownership()
    assert ownership is not None
    assert sink.commit([], [PartitionOffset(topic="in", partition=0, offset=0, metadata="g9.AA==")], ownership)
    metrics = Instruments.none()
    with world.worker(drain_s=0.1, metrics=metrics) as (loop, _):
        wait_until(lambda: world.output() == ["c1"])
        wait_until(lambda: loop.health().stopped_count == 1)
        wait_until(lambda: metrics.value(Metric.STOPPED_PARTITIONS) == 1)
        assert not loop.health().paused, "pausing is for bounds"
    assert set(world.work.calls) == {b"c1"}
    assert "unreadable" in caplog.text


def test_a_full_window_pauses_its_partition_and_resumes() -> None:
    world = World()
    world.work.stuck = {b"a0"}
    values = [f"a{number}" for number in range(40)]
    with world.worker(queue_events_max=64, in_flight_max=4) as (loop, _):
        world.send(*values)
        world.send(*[f"b{number}" for number in range(200)])
        wait_until(lambda: loop.health().paused)
        world.work.stuck.clear()
        wait_until(lambda: len(world.output()) == 240)
        wait_until(lambda: not loop.health().paused)
    assert len(set(world.output())) == 240
