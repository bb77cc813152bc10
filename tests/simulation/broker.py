"""A broker in virtual time: input and output logs. Transactions are in `coordinator.py`, the group in `group.py`.

As in Apache Kafka, the offsets of a transaction are checked against generation and member and not against who owns the
partition.
"""

import random
from bisect import bisect_left
from typing import NamedTuple

from kafka import errors
from kafka.structs import TopicPartition

from tests.simulation.census import Census
from tests.simulation.coordinator import Coordinator, Identity, Position, Transaction
from tests.simulation.group import Group
from tests.simulation.scheduling import Scheduler


class InputRecord(NamedTuple):
    """As kafka-python's ConsumerRecord, in as far as it is used."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


class Broker(Coordinator[int]):
    """Everything that outlives a worker. Offsets are kept by partition: there is one group and one topic."""

    def __init__(
        self, scheduler: Scheduler, rng: random.Random, census: Census, group: Group, transaction_timeout_s: float
    ) -> None:
        super().__init__(scheduler, rng, transaction_timeout_s)
        self.census = census
        self.group = group
        partition_count = len(census.inputs)
        self.logs: list[list[InputRecord]] = [[] for _ in range(partition_count)]
        self.committed: list[Position | None] = [None] * partition_count
        self.ends = [0] * partition_count

    def key_of(self, group_id: str, partition: TopicPartition) -> int:
        return partition.partition

    def check_identity(self, identity: Identity) -> None:
        generation, member_id, instance_id = identity
        assert instance_id is not None
        self.group.check_commit(generation, member_id, instance_id)

    def become_visible(self, transaction: Transaction[int]) -> None:
        before = [position[0] if position else 0 for position in self.committed]
        self.census.commit(transaction.written, transaction.offsets, before)
        for partition, position in transaction.offsets.items():
            self.committed[partition] = position

    def tick(self) -> None:
        self.group.tick()

    # Input

    def write(self, partition: int, key: bytes | None, gap: int) -> None:
        """Append a record, `gap` offsets above the last."""
        offset = self.ends[partition] + gap
        self.ends[partition] = offset + 1
        self.census.write(partition, offset, key)
        self.logs[partition].append(
            InputRecord("in", partition, offset, 1 + offset, key, b"%d:%d" % (partition, offset))
        )

    def compact(self, partition: int, offset: int) -> None:
        """Have a record vanish, as compaction does."""
        log = self.logs[partition]
        at = bisect_left(log, offset, key=lambda record: record.offset)
        if at < len(log) and log[at].offset == offset:
            del log[at]
            self.census.inputs[partition].vanished.add(offset)

    def read(self, partition: int, offset: int, count_max: int) -> list[InputRecord]:
        """Up to so many records from `offset` on."""
        log = self.logs[partition]
        if not log or log[-1].offset < offset:
            return []
        at = bisect_left(log, offset, key=lambda record: record.offset)
        return log[at : at + count_max]

    def position(self, partition: int, *, stable: bool) -> Position | None:
        """The committed position. Raises UnstableOffsetCommitError where a transaction is to decide about it first."""
        if stable and not self.is_decided(partition):
            raise errors.UnstableOffsetCommitError  # pyright: ignore[reportAttributeAccessIssue] - newer than the stubs
        return self.committed[partition]
