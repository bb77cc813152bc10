"""The fake broker keeps the contract of the real one, and goes wrong on request."""

from collections.abc import Generator
from contextlib import contextmanager

import pytest

from tests.contracts.delivery import DeliveryContract, after, read, settle
from topology.contract.records import OutRecord
from topology.ports import Sink, Source
from workers.development.memory_broker import FakeBroker, FakeSink, FakeSource
from workers.kafka.errors import OutcomeUnknown

ANSWER = [OutRecord(topic="out", key=b"key", value=b"A")]


class FakeWorld:
    output_topic = "out"

    def __init__(self) -> None:
        self.broker = FakeBroker()
        self.broker.create_topic("in", 2)
        self.broker.create_topic("out")

    def source(self, slot: int = 0) -> Source:
        return FakeSource(self.broker, "in", slot)

    def sink(self, slot: int = 0) -> Sink:
        return FakeSink(self.broker, slot)

    def send(self, value: bytes | None, *, key: bytes | None = b"key", partition: int = 0) -> None:
        self.broker.send("in", value, key=key, partition=partition)

    def output(self) -> list[bytes]:
        return [record.value or b"" for record in self.broker.records("out")]

    def committed(self, partition: int = 0) -> int | None:
        return self.broker.committed("in", partition)


class TestFakes(DeliveryContract):
    @contextmanager
    def world(self) -> Generator[FakeWorld]:
        yield FakeWorld()


def test_an_aborted_transaction_shows_only_to_those_who_read_uncommitted() -> None:
    world = FakeWorld()
    world.send(b"a")
    source, sink = FakeSource(world.broker, "in"), FakeSink(world.broker)
    (record,) = read(source, 1)
    sink.abort_next()
    assert not sink.commit(ANSWER, [after(record)], settle(source))
    assert world.output() == []
    assert len(world.broker.records("out", isolation="read_uncommitted")) == 1
    assert sink.commit(ANSWER, [after(record)], settle(source))


@pytest.mark.parametrize("applied", [True, False])
def test_a_lost_answer_ends_the_process_whatever_happened(applied: bool) -> None:
    world, exited = FakeWorld(), list[int]()
    world.send(b"a")
    source, sink = FakeSource(world.broker, "in"), FakeSink(world.broker, exit_process=exited.append)
    (record,) = read(source, 1)
    sink.lose_next(applied=applied)
    with pytest.raises(OutcomeUnknown):
        sink.commit(ANSWER, [after(record)], settle(source))
    assert exited == [70]
    assert world.committed() == (1 if applied else None)


def test_a_member_whose_session_ended_joins_again_and_its_old_membership_is_stale() -> None:
    world = FakeWorld()
    world.send(b"a")
    source, sink = FakeSource(world.broker, "in"), FakeSink(world.broker)
    (record,) = read(source, 1)
    before = settle(source)
    assert before.instance_id is not None
    world.broker.expire(before.instance_id)
    assert not sink.commit(ANSWER, [after(record)], before)
    assert source.poll(0) == ()
    assert source.ownership() is None
    assert settle(source).generation > before.generation
    assert read(source, 1) == [record]
