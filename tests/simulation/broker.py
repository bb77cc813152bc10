"""A broker in virtual time: input and output logs, and the transaction coordinator. The group is in `group.py`.

As Apache Kafka's, down to what matters to exactly-once: producer epochs and fencing, transactions that end in two
steps (decided, then visible), the last stable offset, offset fetches that wait for open transactions. As there, the
offsets of a transaction are checked against generation and member and not against who owns the partition, and an empty
identity is taken for an old client's and not checked at all (K5).
"""

import random
from bisect import bisect_left
from collections.abc import Mapping
from typing import NamedTuple

from kafka import errors

from tests.simulation.census import Census, Place, Written
from tests.simulation.group import Group
from tests.simulation.scheduling import Scheduler

MARKER_S = 0.006
"""Typical time between the end of a transaction and its being visible."""
MARKER_MAX_S = 0.25

TICK_S = 0.05


class InputRecord(NamedTuple):
    """As kafka-python's ConsumerRecord, in as far as it is used."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


class Transaction:
    """Of one producer, until it is visible or gone."""

    def __init__(self, began_s: float, first: int) -> None:
        self.began_s = began_s
        self.first = first
        """Position of the output log at its beginning: no reader gets beyond it meanwhile."""
        self.written: list[Written] = []
        self.offsets: dict[int, tuple[int, str]] = {}


class Writer:
    """A transactional id."""

    def __init__(self, producer_id: int) -> None:
        self.producer_id = producer_id
        self.epoch = -1
        self.open: Transaction | None = None
        self.ending: Transaction | None = None


class Broker:
    """Everything that outlives a worker."""

    def __init__(
        self, scheduler: Scheduler, rng: random.Random, census: Census, group: Group, transaction_timeout_s: float
    ) -> None:
        self.scheduler = scheduler
        self.census = census
        self.group = group
        self.down_until_s = 0.0
        self.marker_max_s = MARKER_S
        partition_count = len(census.inputs)
        self.logs: list[list[InputRecord]] = [[] for _ in range(partition_count)]
        self.committed: list[tuple[int, str] | None] = [None] * partition_count
        self.ends = [0] * partition_count
        self.output_end = 0
        self._writers: dict[str, Writer] = {}
        self._undecided: list[Transaction] = []
        self._random = rng.random
        self._timeout_s = transaction_timeout_s
        scheduler.call_at(TICK_S, self._tick)

    @property
    def is_down(self) -> bool:
        return self.scheduler.now_s < self.down_until_s

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

    def position(self, partition: int, *, stable: bool) -> tuple[int, str] | None:
        """The committed position. Raises UnstableOffsetCommitError where a transaction is to decide about it first."""
        if stable and not self.is_decided(partition):
            raise errors.UnstableOffsetCommitError  # pyright: ignore[reportAttributeAccessIssue] - newer than the stubs
        return self.committed[partition]

    # Transactions

    def init(self, transactional_id: str) -> tuple[int, int]:
        """A new epoch; the one before is fenced. Raises ConcurrentTransactionsError until its transaction is over."""
        writer = self._writers.get(transactional_id)
        if writer is None:
            writer = self._writers[transactional_id] = Writer(len(self._writers) + 1)
        writer.epoch += 1
        if writer.open is not None:
            self._end(writer, is_committed=False)
        if writer.ending is not None:
            raise errors.ConcurrentTransactionsError
        return writer.producer_id, writer.epoch

    def produce(self, transactional_id: str, epoch: int, records: list[tuple[str, Place]]) -> None:
        """Append to the output log as part of the open transaction, which begins here if need be."""
        transaction = self._open(self._writer(transactional_id, epoch))
        for topic, place in records:
            transaction.written.append((self.output_end, topic, place))
            self.output_end += 1

    def commit_offsets(
        self, transactional_id: str, epoch: int, offsets: Mapping[int, tuple[int, str]], identity: tuple[int, str, str]
    ) -> None:
        """Make offsets part of the open transaction, if the group knows who asks."""
        writer = self._writer(transactional_id, epoch)
        generation, member_id, instance_id = identity
        if generation >= 0 or member_id:
            self.group.check_commit(generation, member_id, instance_id)
        self._open(writer).offsets.update(offsets)

    def end(self, transactional_id: str, epoch: int, *, is_committed: bool) -> None:
        """Decide the open transaction."""
        writer = self._writer(transactional_id, epoch)
        if writer.open is not None:
            self._end(writer, is_committed=is_committed)

    def bump(self, transactional_id: str, epoch: int) -> int:
        """As a client asks for after an error of its own (K3): what is open is aborted, and it gets the next epoch."""
        writer = self._writer(transactional_id, epoch)
        if writer.open is not None:
            self._end(writer, is_committed=False)
        writer.epoch += 1
        return writer.epoch

    def is_ending(self, transactional_id: str) -> bool:
        """Whether the next transaction has to wait for the last one."""
        return self._writers[transactional_id].ending is not None

    def is_decided(self, partition: int) -> bool:
        """Whether no transaction is to change its position."""
        return not any(partition in transaction.offsets for transaction in self._undecided)

    @property
    def is_quiet(self) -> bool:
        """Whether readers see everything that was written: no transaction holds them back."""
        return not self._undecided

    def _writer(self, transactional_id: str, epoch: int) -> Writer:
        writer = self._writers[transactional_id]
        if writer.epoch != epoch:
            raise errors.ProducerFencedError
        if writer.ending is not None:
            raise errors.ConcurrentTransactionsError
        return writer

    def _open(self, writer: Writer) -> Transaction:
        if writer.open is None:
            writer.open = Transaction(self.scheduler.now_s, self.output_end)
            self._undecided.append(writer.open)
        return writer.open

    def _end(self, writer: Writer, *, is_committed: bool) -> None:
        ending = writer.ending = writer.open
        writer.open = None
        assert ending is not None
        after_s = self._random() ** 3 * self.marker_max_s

        def write_markers() -> None:
            writer.ending = None
            self._undecided.remove(ending)
            if is_committed:
                before = [position[0] if position else 0 for position in self.committed]
                self.census.commit(ending.written, ending.offsets, before)
                for partition, position in ending.offsets.items():
                    self.committed[partition] = position

        self.scheduler.call_at(self.scheduler.now_s + after_s, write_markers)

    def _tick(self) -> None:
        """What the broker does by the clock: end transactions and sessions."""
        now_s = self.scheduler.now_s
        if not self.is_down:
            for writer in self._writers.values():
                if writer.open is not None and now_s - writer.open.began_s > self._timeout_s:
                    writer.epoch += 1
                    self._end(writer, is_committed=False)
            self.group.tick()
        self.scheduler.call_at(now_s + TICK_S, self._tick)
