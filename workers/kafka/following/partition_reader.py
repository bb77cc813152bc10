"""A reader of chosen partitions of one topic, each from a time or an offset on; the choice may change."""

import time
from collections.abc import Callable, Mapping

from kafka.structs import TopicPartition
from msgspec import Struct

from topology.contract.records import Record
from workers.kafka.errors import KafkaRefused, translated
from workers.kafka.reader import Reader, record_of
from workers.settings import KafkaSettings


class Begun(Struct, frozen=True, kw_only=True):
    """Where the reading of a partition began: its first record left, the one it began with, and its end then.

    `whole_from_ms`: of the records with this append time or a later one, none was removed before it could be read; 0 if
    no record ever was removed. Where all were, nobody can tell more than that what is written from now on is read.
    """

    first: int
    offset: int
    end: int
    whole_from_ms: int


class PartitionReader(Reader):
    """A reader by assignment, for one thread. Raises KafkaRefused if the topic does not exist.

    It also sees records of transactions that are not committed: nobody writes those to the topics that it is for, and
    somebody who did could not make it wait.
    """

    def __init__(self, kafka: KafkaSettings, topic: str, *, time_s: Callable[[], float] = time.time) -> None:
        self._time_s = time_s
        super().__init__(
            kafka,
            f"read {topic}",
            auto_offset_reset="earliest",
            isolation_level="read_uncommitted",
            fetch_max_wait_ms=50,
        )
        self.topic = topic
        with translated(self._operation):
            known = self._consumer.partitions_for_topic(topic)
        if not known:
            self.close()
            raise KafkaRefused("reader", f"no topic {topic}", "`sluicegate topics create` makes it")

    def partitions(self) -> frozenset[int]:
        """Return the partitions that the topic has, as known by now."""
        with translated(self._operation):
            return frozenset(self._consumer.partitions_for_topic(self.topic) or ())

    def begin(self, partition: int, from_ms: int | None) -> Begun:
        """Look up where to begin: with the first record that is not older than `from_ms`; None: with the first one."""
        named = TopicPartition(self.topic, partition)
        with translated(self._operation):
            end: int = self._consumer.end_offsets([named])[named]  # before the look-up: what comes meanwhile is read
            first: int = self._consumer.beginning_offsets([named])[named]
            oldest = self._consumer.offsets_for_times({named: 0})[named]
            at = None if from_ms is None else self._consumer.offsets_for_times({named: from_ms})[named]
        offset = first if from_ms is None else end if at is None else max(at.offset, first)
        if not first:
            whole_from_ms = 0
        elif oldest is None:
            whole_from_ms = int(self._time_s() * 1000)
        else:
            whole_from_ms = max(oldest.timestamp, from_ms or 0)
        return Begun(first=first, offset=offset, end=end, whole_from_ms=whole_from_ms)

    def assign(self, offsets: Mapping[int, int]) -> None:
        """Read these partitions, each from its offset on, and no others."""
        named = {TopicPartition(self.topic, partition): offset for partition, offset in offsets.items()}
        with translated(self._operation):
            self._consumer.assign(list(named))
            for partition, offset in named.items():
                self._consumer.seek(partition, offset)

    def poll(self, timeout_s: float) -> dict[int, list[Record]]:
        """Return what was written since the last call, by partition, in offset order."""
        return {
            partition.partition: [record_of(message) for message in messages]
            for partition, messages in self._poll(timeout_s).items()
        }
