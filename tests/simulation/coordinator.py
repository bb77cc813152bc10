"""The transaction coordinator of a broker in virtual time.

As Apache Kafka's, down to what matters to exactly-once: producer epochs and fencing, transactions that end in two
steps (decided, then visible), the last stable offset, offset fetches that wait for open transactions. Copies of a
request may arrive at any later time; only the epoch tells them from the requests of a later transaction (K17).
"""

import random
from abc import abstractmethod
from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from typing import Generic, TypeVar

from kafka import errors
from kafka.structs import TopicPartition

from tests.simulation.census import Place, Written
from tests.simulation.scheduling import Scheduler

MARKER_S = 0.006
"""Typical time between the end of a transaction and its being visible."""
MARKER_MAX_S = 0.25

TICK_S = 0.05

LATE_S = 0.3
"""Until the copy of a request arrives, at most: a few transactions."""

K = TypeVar("K", bound=Hashable)
Position = tuple[int, str]
"""Offset and metadata."""

Identity = tuple[int, str, str | None]
"""Generation, member id, instance id."""


class Transaction(Generic[K]):
    """A transaction of one producer, until it is visible or gone."""

    def __init__(self, began_s: float, first: int) -> None:
        self.began_s = began_s
        self.first = first
        """Position of the output log at its beginning: no reader gets beyond it meanwhile."""
        self.written: list[Written] = []
        self.offsets: dict[K, Position] = {}


class Writer(Generic[K]):
    """A transactional id."""

    def __init__(self, producer_id: int) -> None:
        self.producer_id = producer_id
        self.epoch = -1
        self.open: Transaction[K] | None = None
        self.ending: Transaction[K] | None = None


class Coordinator(Generic[K]):
    """The part of a broker that a transactional producer sees. A `K` is what an offset is committed for."""

    def __init__(self, scheduler: Scheduler, rng: random.Random, transaction_timeout_s: float) -> None:
        self.scheduler = scheduler
        self.down_until_s = 0.0
        self.marker_max_s = MARKER_S
        self.output_end = 0
        self._writers: dict[str, Writer[K]] = {}
        self._undecided: list[Transaction[K]] = []
        self._random = rng.random
        self._timeout_s = transaction_timeout_s
        scheduler.call_at(TICK_S, self._tick)

    @abstractmethod
    def key_of(self, group_id: str, partition: TopicPartition) -> K:
        """Return what the offset of a group and a partition is kept under."""

    @abstractmethod
    def check_identity(self, identity: Identity) -> None:
        """Raise what a commit under that identity is refused with."""

    @abstractmethod
    def become_visible(self, transaction: Transaction[K]) -> None:
        """Take over what a committed transaction wrote."""

    @property
    def is_down(self) -> bool:
        """Return whether nothing is answered."""
        return self.scheduler.now_s < self.down_until_s

    def init(self, transactional_id: str) -> tuple[int, int]:
        """Return a new epoch; the one before is fenced.

        Raises ConcurrentTransactionsError until the transaction of the one before is over.
        """
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
        self,
        transactional_id: str,
        epoch: int,
        group_id: str,
        offsets: Mapping[TopicPartition, Position],
        identity: Identity,
    ) -> None:
        """Make offsets part of the open transaction, if the group knows who asks.

        An empty identity is taken for an old client's and not checked at all (K5).
        """
        writer = self._writer(transactional_id, epoch)
        generation, member_id, _ = identity
        if generation >= 0 or member_id:
            self.check_identity(identity)
        self._open(writer).offsets.update({self.key_of(group_id, at): to for at, to in offsets.items()})

    def arrive_late(self, request: Callable[[], object]) -> None:
        """Have a copy of a request arrive later."""
        self.scheduler.call_at(self.scheduler.now_s + self._random() * LATE_S, lambda: self.arrive(request))

    def arrive(self, request: Callable[[], object]) -> None:
        """Take a copy of a request over a connection that its client gave up: nobody hears the answer."""
        with suppress(errors.KafkaError):
            if not self.is_down:
                request()

    def join(self, transactional_id: str, epoch: int) -> None:
        """Add partitions to the open transaction, which begins here if need be."""
        self._open(self._writer(transactional_id, epoch))

    def repeat_offsets(
        self, transactional_id: str, epoch: int, offsets: Mapping[K, Position], identity: Identity
    ) -> None:
        """Take a second copy of offsets: into any transaction of that epoch which has offsets."""
        writer = self._writer(transactional_id, epoch)
        if writer.open is None or not writer.open.offsets:
            raise errors.InvalidTxnStateError
        generation, member_id, _ = identity
        if generation >= 0 or member_id:
            self.check_identity(identity)
        writer.open.offsets.update(offsets)

    def end(self, transactional_id: str, epoch: int, *, is_committed: bool) -> None:
        """Decide the open transaction."""
        writer = self._writer(transactional_id, epoch)
        if writer.open is not None:
            self._end(writer, is_committed=is_committed)

    def bump(self, transactional_id: str, epoch: int) -> int:
        """Abort what is open and return the next epoch, as a client asks for after an error of its own (K3)."""
        writer = self._writer(transactional_id, epoch)
        if writer.open is not None:
            self._end(writer, is_committed=False)
        writer.epoch += 1
        return writer.epoch

    def is_ending(self, transactional_id: str) -> bool:
        """Return whether the next transaction has to wait for the last one."""
        return self._writers[transactional_id].ending is not None

    def is_decided(self, key: K) -> bool:
        """Return whether no transaction is to change the offset of `key`."""
        return not any(key in transaction.offsets for transaction in self._undecided)

    @property
    def is_quiet(self) -> bool:
        """Return whether readers see everything that was written: no transaction holds them back."""
        return not self._undecided

    def _writer(self, transactional_id: str, epoch: int) -> Writer[K]:
        writer = self._writers[transactional_id]
        if writer.epoch != epoch:
            raise errors.ProducerFencedError
        if writer.ending is not None:
            raise errors.ConcurrentTransactionsError
        return writer

    def _open(self, writer: Writer[K]) -> Transaction[K]:
        if writer.open is None:
            writer.open = Transaction(self.scheduler.now_s, self.output_end)
            self._undecided.append(writer.open)
        return writer.open

    def _end(self, writer: Writer[K], *, is_committed: bool) -> None:
        ending = writer.ending = writer.open
        writer.open = None
        assert ending is not None
        after_s = self._random() ** 3 * self.marker_max_s

        def write_markers() -> None:
            writer.ending = None
            self._undecided.remove(ending)
            if is_committed:
                self.become_visible(ending)

        self.scheduler.call_at(self.scheduler.now_s + after_s, write_markers)

    def _tick(self) -> None:
        """Do what the broker does by the clock: end transactions that take too long, and sessions."""
        now_s = self.scheduler.now_s
        if not self.is_down:
            for writer in self._writers.values():
                if writer.open is not None and now_s - writer.open.began_s > self._timeout_s:
                    writer.epoch += 1
                    self._end(writer, is_committed=False)
            self.tick()
        self.scheduler.call_at(now_s + TICK_S, self._tick)

    def tick(self) -> None:
        """Do what else a broker does by the clock."""
