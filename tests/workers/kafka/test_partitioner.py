"""A key's partition is the one that kafka-python's own partitioner, and with it Java's producer, would choose."""

import random
from typing import Any

import pytest
from kafka.partitioner.default import DefaultPartitioner

from workers.kafka.producer import key_partition

TOPIC = "conversations.audited"


class Cluster:
    """Metadata of one topic."""

    def __init__(self, partition_count: int) -> None:
        self._partitions = set(range(partition_count))

    def topics(self) -> set[str]:
        return {TOPIC}

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return self._partitions if topic == TOPIC else None

    available_partitions_for_topic = partitions_for_topic


def chosen(key: bytes, partition_count: int) -> Any:
    library: Any = DefaultPartitioner()
    return library.partition(TOPIC, key, key, b"", b"", Cluster(partition_count))


@pytest.mark.parametrize("partition_count", [1, 2, 6, 7, 100])
def test_it_chooses_as_the_default_partitioner(partition_count: int) -> None:
    numbers = random.Random(partition_count)
    keys = [numbers.randbytes(length) for length in range(41) for _ in range(3)]
    for key in [*keys, *keys]:
        assert key_partition(key, partition_count) == chosen(key, partition_count)


def test_a_key_moves_when_the_topic_grows() -> None:
    places = {(count, key_partition(b"conversation-7", count)) for count in (3, 64, 3, 64)}
    assert places == {(count, chosen(b"conversation-7", count)) for count in (3, 64)}
