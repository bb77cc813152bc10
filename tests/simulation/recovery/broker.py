"""A broker in virtual time for the commands of recovery: two topics to read, offsets of groups without members.

`written` copies become visible with the offsets of their transaction, and the census looks at both.
"""

import random
from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import NamedTuple

from kafka import errors
from kafka.structs import TopicPartition

from tests.simulation.coordinator import Coordinator, Identity, Position, Transaction
from tests.simulation.recovery.census import GroupPartition, RecoveryCensus
from tests.simulation.scheduling import Scheduler
from topology.contract.records import Headers


class Message(NamedTuple):
    """A ConsumerRecord of kafka-python, as far as it is used."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers


class RecoveryBroker(Coordinator[GroupPartition]):
    """Everything that outlives a command."""

    def __init__(
        self, scheduler: Scheduler, rng: random.Random, census: RecoveryCensus, transaction_timeout_s: float
    ) -> None:
        super().__init__(scheduler, rng, transaction_timeout_s)
        self.committed: dict[GroupPartition, Position] = {}
        self._census = census
        self._logs: dict[TopicPartition, list[Message]] = {}
        self._ends: dict[TopicPartition, int] = {}

    def add_partition(self, partition: TopicPartition, first: int) -> None:
        """Create an empty partition whose next offset is `first`."""
        self._logs[partition] = []
        self._ends[partition] = first

    def append(self, partition: TopicPartition, gap: int, message_at: Callable[[int], Message]) -> Message:
        """Append the message for its offset, which is `gap` above the end."""
        message = message_at(self._ends[partition] + gap)
        self._ends[partition] = message.offset + 1
        self._logs[partition].append(message)
        return message

    def leave_gap(self, partition: TopicPartition, gap: int) -> None:
        """Use up offsets as a transaction's markers do."""
        self._ends[partition] += gap

    def partitions(self, topic: str) -> set[int]:
        """Return the numbers of a topic's partitions."""
        return {partition.partition for partition in self._logs if partition.topic == topic}

    def bounds(self, partition: TopicPartition) -> tuple[int, int]:
        """Return the first offset and the end."""
        log = self._logs[partition]
        return log[0].offset if log else self._ends[partition], self._ends[partition]

    def read(self, partition: TopicPartition, offset: int, count_max: int) -> list[Message]:
        """Return up to so many messages from `offset` on."""
        log = self._logs[partition]
        at = bisect_left(log, offset, key=lambda message: message.offset)
        return log[at : at + count_max]

    def position(self, key: GroupPartition) -> Position | None:
        """Return what is committed. Raises UnstableOffsetCommitError while a transaction is to decide about it."""
        if not self.is_decided(key):
            raise errors.UnstableOffsetCommitError  # pyright: ignore[reportAttributeAccessIssue] - newer than the stubs
        return self.committed.get(key)

    def key_of(self, group_id: str, partition: TopicPartition) -> GroupPartition:
        return group_id, partition.topic, partition.partition

    def check_identity(self, identity: Identity) -> None:
        self.scheduler.fail(f"K5: a group that has no members is committed by {identity}")

    def become_visible(self, transaction: Transaction[GroupPartition]) -> None:
        self.committed.update(transaction.offsets)
        written: Iterable[tuple[str, tuple[int, int]]] = ((topic, place) for _, topic, place in transaction.written)
        self._census.commit(list(written), transaction.offsets)
