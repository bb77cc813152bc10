"""kafka-python's transactional producer, with what is the same for every record of a round done once.

Its `send` looks up the topic, the transaction and the size for each record, estimates what it then measures, and wakes
its network thread for each partition: half of the microseconds that a record takes (`python -m bench --only a`). What
is left out here is what the sink's rounds make sure of, and anything out of the ordinary goes to the library's `send`.
"""

import functools
from typing import Any

from kafka import KafkaProducer
from kafka.partitioner.default import murmur2
from kafka.structs import TopicPartition

PLAIN_VALUE_BYTES_MAX = 1 << 20
"""A longer value is measured by the library; this and any headers of ours stay far below what a request may be."""

KEYS_MAX = 64
"""Keys whose hash is kept. The library hashes in Python, 2 µs for each twelve bytes of the key; the records of an event
are sent one after the other under one key, so each key is hashed once."""


class RoundProducer(KafkaProducer):
    """A KafkaProducer whose every transaction ends in a `flush`, which is what sends its last batches off."""

    # What is used of the library's insides; its stubs do not know them.
    _accumulator: Any
    _metadata: Any
    _sender: Any
    _transaction_manager: Any

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._counts: dict[str, int] = {}
        self._joined: dict[tuple[str, int], TopicPartition] = {}

    def begin_transaction(self) -> None:
        """As the library's. Partition counts are looked up anew for each transaction."""
        self._counts.clear()
        self._joined.clear()
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
        """As the library's, of keys and values that are bytes or None.

        An error that has broken the transaction since a partition's first record fails the records' futures instead.
        """
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
        """How many partitions the topic has; 0 while that is not known."""
        count = self._counts.get(topic)
        if count is None:
            count = len(self._metadata.partitions_for_topic(topic) or ())
            if count:
                self._counts[topic] = count
        return count

    def _join(self, topic: str, partition: int) -> TopicPartition:
        """Make a partition part of the transaction. Raises ValueError where the topic has no such partition."""
        if not 0 <= partition < self._counts[topic]:
            raise ValueError(f"{topic} has no partition {partition}")
        place = TopicPartition(topic, partition)
        self._transaction_manager.maybe_add_partition_to_transaction(place)
        self._joined[topic, partition] = place
        return place


def key_partition(key: bytes, partition_count: int) -> int:
    """Which of so many partitions, numbered from 0, a key's records go to."""
    return _hashed(key) % partition_count


@functools.lru_cache(maxsize=KEYS_MAX)
def _hashed(key: bytes) -> int:
    """Java's `toPositive(murmur2(key))`."""
    return murmur2(key) & 0x7FFFFFFF
