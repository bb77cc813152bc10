"""kafka-python's transactional producer, doing once per transaction what it does for every record.

The library's `send` looks up the topic, the transaction and the size for each record, estimates what it then measures,
and wakes its network thread for each partition: half of the microseconds that a record takes (`python -m bench --only
a`). This producer skips what every transaction of this project ensures, and calls the library's `send` for any unusual
record.
"""

import functools
from typing import Any

from kafka import KafkaProducer
from kafka.errors import MessageSizeTooLargeError, RecordListTooLargeError
from kafka.partitioner.default import murmur2
from kafka.protocol.producer import (
    AddOffsetsToTxnRequest,
    AddPartitionsToTxnRequest,
    EndTxnRequest,
    InitProducerIdRequest,
    ProduceRequest,
    TxnOffsetCommitRequest,
)
from kafka.structs import TopicPartition

from workers.kafka.library_fixes import UnansweredRequests

PLAIN_VALUE_BYTES_MAX = 1 << 20
"""The library measures a longer value; up to this length, value and headers stay far below the longest request."""

OF_TRANSACTIONS = (
    AddOffsetsToTxnRequest,
    AddPartitionsToTxnRequest,
    EndTxnRequest,
    InitProducerIdRequest,
    ProduceRequest,
    TxnOffsetCommitRequest,
)
"""Every request that the brokers judge by the producer's epoch, or that gives a new one."""

KEYS_MAX = 64
"""Keys whose hash is kept. The library hashes in Python, 2 µs for each twelve bytes of the key; the records of an event
are sent one after the other under one key, so each key is hashed once."""


class RoundProducer(KafkaProducer):
    """A KafkaProducer for transactions that end in a `flush`, which sends the last batches."""

    # Private attributes of the library that are used here; its stubs do not know them.
    _accumulator: Any
    _metadata: Any
    _sender: Any
    _transaction_manager: Any

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # The library splits a batch that its topic does not take, and then loses track of the records in it (K21).
        self._sender._can_split = _never  # noqa: SLF001 - the library has no option for it
        self._counts: dict[str, int] = {}
        self._joined: dict[tuple[str, int], TopicPartition] = {}
        self._requests = UnansweredRequests(self._sender._client, OF_TRANSACTIONS)  # noqa: SLF001 - there is no accessor
        self._of_round: list[tuple[Any, str, int]] = []
        """Future, topic and value's bytes of each record of the transaction; no future for one that was not taken."""

    @property
    def unanswered(self) -> tuple[str, ...]:
        """Return the names of this producer's requests that may still reach the brokers (K17)."""
        return self._requests.names

    def begin_transaction(self) -> None:
        """Begin a transaction as the library does; partition counts are looked up again."""
        self._counts.clear()
        self._joined.clear()
        self._of_round.clear()
        super().begin_transaction()

    def send(
        self,
        topic: str,
        value: Any = None,
        key: Any = None,
        headers: Any = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
    ) -> Any:
        """Send as the library does; key and value are bytes or None.

        After a partition's first record, an error that breaks the transaction is not raised here but fails the futures.
        """
        future: Any = None
        try:
            future = self._send(topic, value, key, headers, partition, timestamp_ms)
        finally:
            self._of_round.append((future, topic, len(value or b"")))
        return future

    def too_large(self) -> tuple[str, int, int | None] | None:
        """Return topic, bytes and index of the transaction's record that was too large; None if none was.

        The brokers refuse a batch as a whole: of several records the largest is named, without an index.
        """
        refused = [
            (size_bytes, topic, index)
            for index, (future, topic, size_bytes) in enumerate(self._of_round)
            if future is None or isinstance(future.exception, (MessageSizeTooLargeError, RecordListTooLargeError))
        ]
        if not refused:
            return None
        size_bytes, topic, index = max(refused)
        return topic, size_bytes, index if len(refused) == 1 else None

    def _send(
        self, topic: str, value: Any, key: Any, headers: Any, partition: int | None, timestamp_ms: int | None
    ) -> Any:
        count = self._count_of(topic)
        if count and key is not None and partition is None:
            partition = key_partition(key, count)
        if not count or partition is None or value is None or len(value) > PLAIN_VALUE_BYTES_MAX:
            return super().send(topic, value, key, headers, partition, timestamp_ms)
        place = self._joined.get((topic, partition)) or self._join(topic, partition)
        future, is_full, _, _ = self._accumulator.append(place, timestamp_ms, key, value, headers or [])
        if is_full:
            self._sender.wakeup()
        return future

    def _count_of(self, topic: str) -> int:
        """Return how many partitions the topic has; 0 while that is not known."""
        count = self._counts.get(topic)
        if count is None:
            count = len(self._metadata.partitions_for_topic(topic) or ())
            if count:
                self._counts[topic] = count
        return count

    def _join(self, topic: str, partition: int) -> TopicPartition:
        """Make a partition part of the transaction. Raises ValueError if the topic has no such partition."""
        if not 0 <= partition < self._counts[topic]:
            raise ValueError(f"{topic} has no partition {partition}")
        place = TopicPartition(topic, partition)
        self._transaction_manager.maybe_add_partition_to_transaction(place)
        self._joined[topic, partition] = place
        return place


def _never(*_: object) -> bool:
    return False


def key_partition(key: bytes, partition_count: int) -> int:
    """Return the partition of a key, from 0: the one that Java's producer and kafka-python choose."""
    return _hashed(key) % partition_count


@functools.lru_cache(maxsize=KEYS_MAX)
def _hashed(key: bytes) -> int:
    """Return Java's `toPositive(murmur2(key))`."""
    return murmur2(key) & 0x7FFFFFFF
