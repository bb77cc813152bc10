"""A key's partition is the one that kafka-python's own partitioner, and with it Java's producer, would choose."""

import random
from typing import Any

import pytest
from kafka.partitioner.default import DefaultPartitioner

from workers.partitioner import KeyPartitioner

TOPIC = "conversations.audited"


class Cluster:
    """Metadata of one topic."""

    def __init__(self, partition_count: int) -> None:
        self._partitions = set(range(partition_count))

    def topics(self) -> set[str]:
        return {TOPIC} if self._partitions else set()

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return self._partitions if topic == TOPIC and self._partitions else None

    available_partitions_for_topic = partitions_for_topic


def chosen(partitioner: Any, key: bytes | None, partition_count: int) -> Any:
    return partitioner.partition(TOPIC, key, key, b"", b"", Cluster(partition_count))


@pytest.mark.parametrize("partition_count", [1, 2, 6, 7, 100])
def test_it_chooses_as_the_default_partitioner(partition_count: int) -> None:
    numbers = random.Random(partition_count)
    keys = [numbers.randbytes(length) for length in range(41) for _ in range(3)]
    for key in [*keys, *keys]:
        assert chosen(KeyPartitioner(), key, partition_count) == chosen(DefaultPartitioner(), key, partition_count)


def test_a_key_moves_when_the_topic_grows() -> None:
    partitioner = KeyPartitioner()
    places = {(count, chosen(partitioner, b"conversation-7", count)) for count in (3, 64, 3, 64)}
    assert places == {(count, chosen(DefaultPartitioner(), b"conversation-7", count)) for count in (3, 64)}


def test_a_record_without_a_key_goes_anywhere() -> None:
    assert {chosen(KeyPartitioner(), None, 3) for _ in range(200)} == {0, 1, 2}


def test_an_unknown_topic_is_an_error() -> None:
    with pytest.raises(ValueError, match=TOPIC):
        chosen(KeyPartitioner(), b"k", 0)
