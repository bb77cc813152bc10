"""On the real broker: a stuck conversation holds up nobody, and what was answered is never answered again."""

import asyncio
import threading
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from tests.plugins.kafka_broker import CALM, Kafka
from tests.plugins.patience import PATIENCE_S, wait_until
from topology.contract.records import OutRecord, Record, Result
from topology.ports import Rest
from topology.telemetry.instruments import Instruments
from topology.telemetry.tracing import Tracing
from workers.kafka.sink import TransactionalSink
from workers.kafka.source import KafkaSource
from workers.process.clock import SystemClock
from workers.settings import KafkaSettings, LimitSettings
from workers.stream.loop import Loop, LoopState

pytestmark = pytest.mark.kafka


class World:
    """One input partition; answers are the values. What is in `stuck` waits."""

    def __init__(self, kafka: Kafka, partitions: int = 1) -> None:
        self.kafka = kafka
        self.settings: KafkaSettings = kafka.settings(**CALM)
        self.input, self.answers = kafka.topic(partitions), kafka.topic()
        self.stuck: set[bytes] = set()
        self.calls: Counter[bytes] = Counter()

    async def process(self, record: Record, _rest: Rest) -> Result:
        value = record.value or b""
        self.calls[value] += 1
        while value in self.stuck:  # noqa: ASYNC110 - changed from another thread
            await asyncio.sleep(0.01)
        out = OutRecord(topic=self.answers, key=record.key, value=value)
        return Result(topic=record.topic, partition=record.partition, offset=record.offset, records=(out,))

    def send(self, *values: bytes, partition: int = 0) -> None:
        for value in values:
            self.kafka.send(self.input, value, key=value[:1], partition=partition)

    def output(self) -> list[bytes]:
        return self.kafka.values(self.answers)

    @contextmanager
    def worker(self, slot: int = 0, *, drain_s: float = 10.0) -> Generator[Loop]:
        loop = Loop(
            KafkaSource(self.settings, self.input, slot),
            TransactionalSink(self.settings, slot),
            self.process,
            clock=SystemClock(),
            limits=LimitSettings(),
            metrics=Instruments.none(),
            tracing=Tracing.none(),
        )
        thread = threading.Thread(target=loop.run)
        thread.start()
        try:
            yield loop
        finally:
            loop.drain(drain_s)
            thread.join(PATIENCE_S)
        assert loop.health().state is LoopState.STOPPED


def test_answers_above_a_stuck_one_are_visible_and_survive_a_restart(kafka: Kafka) -> None:
    world = World(kafka)
    world.stuck = {b"a1"}
    with world.worker(drain_s=0.1):
        world.send(b"a1", b"b1", b"a2", b"c1", b"b2")
        wait_until(lambda: world.output() == [b"b1", b"c1", b"b2"])
    assert kafka.committed(world.settings, world.input) == 0
    world.stuck.clear()
    with world.worker() as loop:
        wait_until(lambda: loop.health().committed_count == 2)
    assert world.output() == [b"b1", b"c1", b"b2", b"a1", b"a2"]
    assert world.calls == {b"a1": 2, b"b1": 1, b"a2": 1, b"c1": 1, b"b2": 1}
    assert kafka.committed(world.settings, world.input) == 5


def test_work_under_way_goes_on_where_a_rebalance_gives_its_partition_back(kafka: Kafka) -> None:
    """A second member takes one of two partitions; both keep a stuck record, and only the moved one runs again."""
    world = World(kafka, partitions=2)
    world.stuck = {b"a1", b"b1"}
    with world.worker(0) as first:
        world.send(b"a1", b"c1", partition=0)
        world.send(b"b1", b"d1", partition=1)
        wait_until(lambda: len(world.output()) == 2)
        with world.worker(1) as second:
            wait_until(lambda: second.health().assigned and max(world.calls.values()) == 2)
            world.send(b"e1", partition=0)
            world.send(b"f1", partition=1)
            wait_until(lambda: len(world.output()) == 4)
            world.stuck.clear()
            wait_until(lambda: first.health().committed_count + second.health().committed_count == 6)
    assert sorted(world.output()) == [b"a1", b"b1", b"c1", b"d1", b"e1", b"f1"]
    assert sorted(world.calls[value] for value in (b"a1", b"b1")) == [1, 2]
    assert {world.calls[value] for value in (b"c1", b"d1", b"e1", b"f1")} == {1}


def test_sixty_slow_conversations_of_one_partition_run_side_by_side(kafka: Kafka) -> None:
    world = World(kafka)
    first = [b"%c-%d" % (200 - number, number) for number in range(60)]
    world.stuck = set(first)
    with world.worker() as loop:
        world.send(*first)
        wait_until(lambda: len(world.calls) == 60)
        world.stuck.clear()
        wait_until(lambda: loop.health().committed_count == 60)
    assert sorted(world.output()) == sorted(first)
