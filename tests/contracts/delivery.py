"""What every Source and Sink does. The real ones and their fakes subclass these suites and say how to be made."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import pytest
from msgspec.structs import replace

from tests.plugins.patience import PATIENCE_S, wait_until
from topology.contract.records import OutRecord, Ownership, PartitionOffset, Record
from topology.ports import Sink, Source
from workers.kafka.errors import SlotFenced


class World(Protocol):
    """A broker with one input and one output topic, and clients of one group on it."""

    @property
    def output_topic(self) -> str: ...

    def source(self, slot: int = 0) -> Source: ...

    def sink(self, slot: int = 0) -> Sink: ...

    def send(self, value: bytes | None, *, key: bytes | None = b"key", partition: int = 0) -> None: ...

    def output(self) -> list[bytes]:
        """Values that a read_committed reader sees."""
        ...

    def committed(self, partition: int = 0) -> int | None: ...


def poll_until(source: Source, enough: Callable[[Sequence[Record]], bool]) -> list[Record]:
    """What is delivered until `enough` says so."""
    records: list[Record] = []
    deadline_s = time.monotonic() + PATIENCE_S
    while not enough(records):
        assert time.monotonic() < deadline_s, f"only {len(records)} records within {PATIENCE_S} s"
        records.extend(source.poll(0.05))
    return records


def read(source: Source, count: int) -> list[Record]:
    return poll_until(source, lambda records: len(records) >= count)


def settle(source: Source) -> Ownership:
    poll_until(source, lambda _: source.ownership() is not None)
    ownership = source.ownership()
    assert ownership is not None
    return ownership


def values(records: Sequence[Record]) -> list[bytes | None]:
    return [record.value for record in records]


def answers(world: World, *texts: bytes) -> list[OutRecord]:
    return [OutRecord(topic=world.output_topic, key=b"key", value=text) for text in texts]


def at(record: Record) -> PartitionOffset:
    return PartitionOffset(topic=record.topic, partition=record.partition, offset=record.offset)


def after(record: Record) -> PartitionOffset:
    return PartitionOffset(topic=record.topic, partition=record.partition, offset=record.offset + 1)


class DeliveryContract:
    """`world` is a fresh broker with two partitions of input."""

    def world(self) -> AbstractContextManager[World]:
        raise NotImplementedError

    def test_records_of_a_partition_come_in_offset_order(self) -> None:
        with self.world() as world:
            for number in range(20):
                world.send(b"%d" % number, partition=number % 2)
            records = read(world.source(), 20)
            for partition in (0, 1):
                own = [record for record in records if record.partition == partition]
                assert [record.offset for record in own] == list(range(10))

    def test_there_is_no_membership_before_the_group_has_settled(self) -> None:
        with self.world() as world:
            source = world.source()
            assert source.ownership() is None
            settle(source)

    def test_empty_keys_and_tombstones_are_delivered_as_they_are(self) -> None:
        with self.world() as world:
            world.send(b"no key", key=None)
            world.send(None, key=b"tombstone")
            first, second = read(world.source(), 2)
            assert (first.key, first.value) == (None, b"no key")
            assert (second.key, second.value) == (b"tombstone", None)

    def test_a_pause_stops_delivery_and_keeps_the_membership(self) -> None:
        with self.world() as world:
            source = world.source()
            ownership = settle(source)
            source.pause(source.assignment())
            world.send(b"later")
            for _ in range(10):
                assert source.poll(0.02) == () or not list(source.poll(0))
            assert source.ownership() == ownership
            source.pause(())
            assert values(read(source, 1)) == [b"later"]

    def test_a_pause_holds_for_the_partitions_it_names(self) -> None:
        with self.world() as world:
            source = world.source()
            settle(source)
            ((topic, _), _) = sorted(source.assignment())
            source.pause([(topic, 0)])
            world.send(b"held", partition=0)
            world.send(b"through", partition=1)
            assert values(read(source, 1)) == [b"through"]
            assert not [record for _ in range(5) for record in source.poll(0.02)]
            source.pause([(topic, 1)])
            assert values(read(source, 1)) == [b"held"]

    def test_the_readable_end_is_after_the_last_record_and_not_after_the_marker_of_its_transaction(self) -> None:
        with self.world() as world:
            source, sink = world.source(), world.sink()
            world.send(b"first")
            (first,) = read(source, 1)
            ownership = settle(source)
            same = OutRecord(topic=first.topic, key=b"key", value=b"in a transaction", partition=first.partition)
            assert sink.commit([same], [after(first)], ownership)
            (second,) = read(source, 1)
            place = (second.topic, second.partition)
            poll_until(source, lambda _: source.end_offsets()[place] > second.offset + 1)
            poll_until(source, lambda _: source.readable_ends()[place] == second.offset + 1)
            assert not [record for _ in range(5) for record in source.poll(0.02)]
            assert source.readable_ends()[place] == second.offset + 1

    def test_before_partitions_are_given_up_somebody_is_told(self) -> None:
        with self.world() as world:
            source, told = world.source(), list[Ownership | None]()
            source.on_revoke(lambda: told.append(source.ownership()))
            before = settle(source)
            assert told in ([], [None]), "nothing was held yet"
            second = world.source(1)
            poll_until(source, lambda _: bool(second.poll(0.02)) or before in told)
            source.close()
            second.close()

    def test_every_assigned_partition_comes_with_its_position_before_its_records(self) -> None:
        with self.world() as world:
            world.send(b"a")
            source = world.source()
            known: dict[int, tuple[int, str]] = {}
            deadline_s = time.monotonic() + PATIENCE_S
            records: list[Record] = []
            while not records or len(known) < 2:
                assert time.monotonic() < deadline_s
                records += source.poll(0.05)
                known.update({at.partition: (at.offset, at.metadata) for at in source.positions()})
                assert {record.partition for record in records} <= set(known)
            assert known == {0: (0, ""), 1: (0, "")}
            assert {partition for _, partition in source.assignment()} == set(known)
            assert source.positions() == []

    def test_what_was_committed_with_an_offset_comes_back_with_it(self) -> None:
        with self.world() as world:
            world.send(b"a")
            world.send(b"b")
            source, sink = world.source(), world.sink()
            first, second = read(source, 2)
            assert sink.commit(answers(world, b"B"), [replace(at(first), metadata="g1.BAE=")], settle(source))
            source.close()
            again = world.source()
            found: dict[int, PartitionOffset] = {}

            def is_known(_: Sequence[Record]) -> bool:
                found.update({position.partition: position for position in again.positions()})
                return 0 in found

            poll_until(again, is_known)
            assert found[0] == replace(at(first), metadata="g1.BAE=")
            assert second.offset == 1

    def test_records_and_offsets_become_visible_together(self) -> None:
        with self.world() as world:
            world.send(b"a")
            source, sink = world.source(), world.sink()
            (record,) = read(source, 1)
            assert world.output() == []
            assert world.committed() is None
            assert sink.commit(answers(world, b"A", b"audit"), [after(record)], settle(source))
            assert world.output() == [b"A", b"audit"]
            wait_until(lambda: world.committed() == 1)

    def test_offsets_alone_can_be_committed(self) -> None:
        with self.world() as world:
            world.send(b"a")
            source, sink = world.source(), world.sink()
            (record,) = read(source, 1)
            assert sink.commit([], [after(record)], settle(source))
            wait_until(lambda: world.committed() == 1)  # an offset is there once the transaction's marker is

    @pytest.mark.parametrize("change", [{"generation": -1}, {"member_id": ""}, {"generation": -1, "member_id": ""}])
    def test_a_commit_without_an_identity_is_refused(self, change: dict[str, object]) -> None:
        """K5: a broker would accept it from anyone."""
        with self.world() as world:
            world.send(b"a")
            source, sink = world.source(), world.sink()
            (record,) = read(source, 1)
            assert not sink.commit(answers(world, b"A"), [after(record)], replace(settle(source), **change))
            assert world.output() == []
            assert world.committed() is None

    def test_a_commit_under_a_stale_membership_leaves_nothing_and_the_next_one_is_clean(self) -> None:
        """K2: the offsets of the refused transaction must not travel with the next."""
        with self.world() as world:
            world.send(b"a", partition=0)
            world.send(b"b", partition=1)
            source, sink = world.source(), world.sink()
            first, second = sorted(read(source, 2), key=lambda record: record.partition)
            ownership = settle(source)
            stale = replace(ownership, generation=ownership.generation + 7)
            assert not sink.commit(answers(world, b"stale"), [after(first)], stale)
            assert sink.commit(answers(world, b"B"), [after(second)], ownership)
            assert world.output() == [b"B"]
            assert (world.committed(0), world.committed(1)) == (None, 1)

    def test_the_later_holder_of_a_slot_shuts_out_the_earlier_one(self) -> None:
        with self.world() as world:
            world.send(b"a")
            source, sink = world.source(), world.sink()
            (record,) = read(source, 1)
            ownership = settle(source)
            world.sink()
            with pytest.raises(SlotFenced):
                sink.commit(answers(world, b"A"), [after(record)], ownership)
            assert world.output() == []

    def test_a_static_member_that_comes_back_goes_on_where_it_had_committed(self) -> None:
        with self.world() as world:
            world.send(b"a")
            source, sink = world.source(), world.sink()
            (record,) = read(source, 1)
            before = settle(source)
            assert sink.commit(answers(world, b"A"), [after(record)], before)
            source.close()
            world.send(b"b")
            again = world.source()
            assert values(read(again, 1)) == [b"b"]
            now = settle(again)
            assert now.generation == before.generation
            assert now.member_id != before.member_id

    def test_a_second_member_takes_part_and_each_partition_has_one_reader(self) -> None:
        with self.world() as world:
            sources = [world.source(0)]
            settle(sources[0])
            sources.append(world.source(1))
            world.send(b"a", partition=0)
            world.send(b"b", partition=1)
            seen: list[set[bytes | None]] = [set(), set()]
            deadline_s = time.monotonic() + PATIENCE_S
            while not (seen[0] and seen[1]):
                assert time.monotonic() < deadline_s
                for index, source in enumerate(sources):
                    before = source.ownership()
                    records = source.poll(0.05)
                    if source.ownership() != before:
                        seen[index] = set()
                    seen[index].update(values(records))
            assert sorted(seen, key=str) == [{b"a"}, {b"b"}]
