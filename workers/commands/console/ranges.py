"""Reads ranges of one topic outside of any group, committed records only: from offset to offset, or by time."""

import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from kafka import KafkaConsumer
from kafka.structs import OffsetAndMetadata, TopicPartition
from msgspec import Struct

from topology.contract.errors import SluicegateError
from topology.contract.records import Record
from workers.commands.console.usage_error import WrongUse
from workers.kafka.client import connect, consumer_options
from workers.kafka.reader import as_record
from workers.settings import KafkaSettings

POLL_S = 0.2
STALL_S = 30.0
"""How long a range may bring nothing before the reading is given up."""


class Span(Struct, frozen=True, kw_only=True):
    """Offsets of one partition: from `start` on, below `end`. No records where they are equal."""

    start: int
    end: int


Spans = Mapping[int, Span]
"""By partition."""


class ReadingStalled(SluicegateError):
    """`args` is (topic, seconds)."""

    def __init__(self, topic: str, seconds: float) -> None:
        super().__init__(topic, seconds)
        self.topic = topic
        self.seconds = seconds

    def __str__(self) -> str:
        return f"kafka: read {self.topic}: nothing for {self.seconds:g} s; an open transaction may hold it back"


class RangeReader:
    """A reader of one topic. All calls on one thread, each of bounded time; use it as a context manager.

    Raises KafkaUnavailable where the brokers are not there within `connect_timeout_s`.
    """

    def __init__(self, kafka: KafkaSettings, topic: str, *, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        # The oldest record in place of one that retention takes while we read.
        options = consumer_options(kafka)
        options["auto_offset_reset"] = "earliest"
        self._consumer: Any = connect("reader", lambda: KafkaConsumer(**options), kafka.connect_timeout_s)
        self._monotonic_s = monotonic_s
        self.topic = topic
        self.partitions: tuple[int, ...] = tuple(sorted(self._consumer.partitions_for_topic(topic) or ()))

    def bounds(self) -> dict[int, Span]:
        """From the oldest record to the end of what is committed now, for every partition."""
        named = self._named(self.partitions)
        starts, ends = self._consumer.beginning_offsets(named), self._consumer.end_offsets(named)
        return {partition.partition: Span(start=starts[partition], end=ends[partition]) for partition in named}

    def offsets_at(self, time_ms: int) -> dict[int, int | None]:
        """The first offset of every partition whose record is not older than `time_ms`; None where all are."""
        found = self._consumer.offsets_for_times(dict.fromkeys(self._named(self.partitions), time_ms))
        return {partition.partition: at and at.offset for partition, at in found.items()}

    def read(self, spans: Spans) -> Iterator[list[Record]]:
        """The records of the spans, in offset order within a partition, some of each poll together.

        Raises ReadingStalled once nothing came for STALL_S.
        """
        waiting = {p: span for p, span in spans.items() if span.start < span.end}
        self._consumer.assign(self._named(tuple(waiting)))
        self._consumer.resume(*self._named(tuple(waiting)))  # one that an earlier range paused stays so otherwise
        for partition, span in waiting.items():
            self._consumer.seek(TopicPartition(self.topic, partition), span.start)
        heard_s = self._monotonic_s()
        while waiting:
            found = self._consumer.poll(timeout_ms=int(POLL_S * 1000))
            records = [
                as_record(message)
                for partition, messages in found.items()
                if partition.partition in waiting
                for message in messages
                if message.offset < waiting[partition.partition].end
            ]
            done = [p for p, span in waiting.items() if self._position(p) >= span.end]
            for partition in done:
                del waiting[partition]
            if done:
                self._consumer.pause(*self._named(tuple(done)))
            if records or done:
                yield records
                heard_s = self._monotonic_s()  # the caller's time between two polls is not the brokers'
            elif self._monotonic_s() - heard_s > STALL_S:
                raise ReadingStalled(self.topic, STALL_S)

    def close(self) -> None:
        """Release the connections."""
        self._consumer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _position(self, partition: int) -> int:
        return self._consumer.position(TopicPartition(self.topic, partition))

    def _named(self, partitions: tuple[int, ...]) -> list[TopicPartition]:
        return [TopicPartition(self.topic, partition) for partition in partitions]


def partition_count(kafka: KafkaSettings, option: str, topic: str) -> int:
    """How many partitions the topic has that `option` names. Raises WrongUse where there is no such topic."""
    with RangeReader(kafka, topic) as reader:
        if not reader.partitions:
            raise WrongUse(option, topic, "no such topic; it must be there already")
        return len(reader.partitions)


def committed(kafka: KafkaSettings, group: str, topic: str, partitions: tuple[int, ...]) -> dict[int, tuple[int, str]]:
    """(offset, metadata) that `group` has committed, by partition; a partition without is left out.

    Waits for transactions that are being decided. Joins nothing.
    """
    options = consumer_options(kafka)
    options["group_id"] = group
    consumer: Any = connect("reader", lambda: KafkaConsumer(**options), kafka.connect_timeout_s)
    timeout_ms = int(STALL_S * 1000)
    try:
        found: dict[int, OffsetAndMetadata | None] = {
            partition: consumer.committed(TopicPartition(topic, partition), metadata=True, timeout_ms=timeout_ms)
            for partition in partitions
        }
    finally:
        consumer.close()
    return {partition: (at.offset, at.metadata or "") for partition, at in found.items() if at and at.offset >= 0}
