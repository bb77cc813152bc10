"""Readers of topics, outside of any group: committed records as they come, to their end, or from offset to offset."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import msgspec
from kafka.structs import OffsetAndMetadata, TopicPartition

from topology.contract.errors import SluicegateError
from topology.contract.headers import last_header
from topology.contract.names import CONTENT_TYPE_MSGPACK, Header
from topology.contract.records import Record
from workers.kafka.client import connect, consumer_options
from workers.kafka.errors import KafkaRefused, translated
from workers.kafka.fetching.batches import BatchLimits
from workers.kafka.library_fixes import BoundedConsumer
from workers.settings import KafkaSettings

POLL_S = 0.2
STALL_S = 30.0
"""The time without any record after which the reading of a range is given up."""
NEW_PARTITIONS_S = 10.0
"""The time within which a follower reads a partition that its topic got."""

T = TypeVar("T")


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """Offsets of one partition, from `start` on and below `end`. No records if they are equal."""

    start: int
    end: int


Spans = Mapping[int, Span]
"""By partition."""


class ReadingStalled(SluicegateError):
    """The reading of a range brought nothing for too long. `args` is (topic, seconds)."""

    def __init__(self, topic: str, seconds: float) -> None:
        super().__init__(topic, seconds)
        self.topic = topic
        self.seconds = seconds

    def __str__(self) -> str:
        return f"kafka: read {self.topic}: nothing for {self.seconds:g} s; an open transaction may hold it back"


class Reader:
    """A consumer without a group membership; a context manager, for one thread.

    What cannot be read is one record that says why, as a worker's source delivers it: `Record.unreadable`.

    Raises KafkaUnavailable if the brokers are not there within `connect_timeout_s`; every method raises
    KafkaUnavailable and KafkaRefused in place of the library's errors.
    """

    def __init__(self, kafka: KafkaSettings, operation: str, **options: object) -> None:
        chosen = consumer_options(kafka)
        chosen.update(options)
        self._operation = operation
        limits = BatchLimits(bytes_max=kafka.batch_decompressed_bytes_max, records_max=kafka.batch_records_max)
        make = partial(BoundedConsumer, batches=limits, **chosen)
        self._consumer: Any = connect("reader", make, kafka.connect_timeout_s)

    def close(self) -> None:
        """Release the connections."""
        self._consumer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def committed(self, partition: TopicPartition) -> OffsetAndMetadata | None:
        """Return what the group of the options has committed."""
        with translated(self._operation):
            return self._consumer.committed(partition, metadata=True, timeout_ms=int(STALL_S * 1000))

    def _poll(self, timeout_s: float) -> dict[TopicPartition, list[Any]]:
        with translated(self._operation):
            return self._consumer.poll(timeout_ms=int(timeout_s * 1000))

    def _position(self, partition: TopicPartition) -> int:
        """Return the next offset to read; 0 while it is not known."""
        with translated(self._operation):
            return self._consumer.position(partition, timeout_ms=int(POLL_S * 1000)) or 0


class TopicReader(Reader):
    """A reader of `topics` from their beginning or from now. Raises KafkaRefused if none of them exists."""

    def __init__(self, kafka: KafkaSettings, topics: Sequence[str], *, from_beginning: bool) -> None:
        super().__init__(kafka, f"read {', '.join(topics)}")
        self._partitions = [
            TopicPartition(topic, partition)
            for topic in topics
            for partition in sorted(self._consumer.partitions_for_topic(topic) or ())
        ]
        if not self._partitions:
            self.close()
            raise KafkaRefused("reader", f"no topic {', '.join(topics)}", "`sluicegate topics create` makes it")
        self._consumer.assign(self._partitions)
        if from_beginning:
            self._consumer.seek_to_beginning(*self._partitions)
        else:
            self._consumer.seek_to_end(*self._partitions)
            for partition in self._partitions:
                self._consumer.position(partition)

    def poll(self, timeout_s: float) -> list[Record]:
        """Return what was committed since the last call, possibly nothing."""
        return [record_of(message) for messages in self._poll(timeout_s).values() for message in messages]

    def read_to_end(self, timeout_s: float, *, monotonic_s: Callable[[], float] = time.monotonic) -> Iterator[Record]:
        """Yield everything that was committed when this was called, and what a poll brought beyond that.

        Raises TimeoutError if it does not arrive in time.
        """
        deadline_s = monotonic_s() + timeout_s
        with translated(self._operation):
            ends: dict[TopicPartition, int] = self._consumer.end_offsets(self._partitions)
        while any(self._position(partition) < end for partition, end in ends.items()):
            if monotonic_s() >= deadline_s:
                raise TimeoutError(f"the topics could not be read to their end in {timeout_s:g} s")
            yield from self.poll(POLL_S)


def read_topic(kafka: KafkaSettings, topic: str, timeout_s: float = 30.0) -> list[Record]:
    """Return all committed records of one topic, in offset order within each partition."""
    with TopicReader(kafka, [topic], from_beginning=True) as reader:
        return list(reader.read_to_end(timeout_s))


class RangeReader(Reader):
    """A reader of ranges of one topic; each call takes bounded time. `partitions` is empty if there is no such topic.

    A record that retention removes meanwhile is skipped: reading goes on with the oldest one that is left.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        topic: str,
        *,
        isolation: str = "read_committed",
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(kafka, f"read {topic}", auto_offset_reset="earliest", isolation_level=isolation)
        self._monotonic_s = monotonic_s
        self.topic = topic
        self.partitions: tuple[int, ...] = tuple(sorted(self._consumer.partitions_for_topic(topic) or ()))

    def bounds(self, partitions: Collection[int] | None = None) -> dict[int, Span]:
        """Return the oldest offset and the end of each partition; None: of every partition.

        The end is that of committed records, or of written ones with the isolation `read_uncommitted`.
        """
        named = self._named(self.partitions if partitions is None else partitions)
        with translated(self._operation):
            starts, ends = self._consumer.beginning_offsets(named), self._consumer.end_offsets(named)
        return {partition.partition: Span(start=starts[partition], end=ends[partition]) for partition in named}

    def offsets_at(self, time_ms: int) -> dict[int, int | None]:
        """Return each partition's first offset whose record is not older than `time_ms`; None if all are older."""
        with translated(self._operation):
            found = self._consumer.offsets_for_times(dict.fromkeys(self._named(self.partitions), time_ms))
        return {partition.partition: at and at.offset for partition, at in found.items()}

    def read(self, spans: Spans, stall_s: float = STALL_S) -> Iterator[list[Record]]:
        """Yield the records of the spans, in offset order within a partition: those of each poll, possibly none.

        Raises ReadingStalled once nothing came for `stall_s`.
        """
        waiting = {TopicPartition(self.topic, p): span for p, span in spans.items() if span.start < span.end}
        self._seek(waiting)
        heard_s = self._monotonic_s()
        while waiting:
            found = self._poll(POLL_S)
            records = [
                record_of(message)
                for partition, messages in found.items()
                if partition in waiting
                for message in messages
                if message.offset < waiting[partition].end
            ]
            done = [partition for partition, span in waiting.items() if self._position(partition) >= span.end]
            for partition in done:
                del waiting[partition]
            if done:
                self._consumer.pause(*done)
            yield records
            if records or done:
                heard_s = self._monotonic_s()  # the caller's time between two polls does not count as a stall
            elif self._monotonic_s() - heard_s > stall_s:
                raise ReadingStalled(self.topic, stall_s)

    def _seek(self, spans: Mapping[TopicPartition, Span]) -> None:
        with translated(self._operation):
            self._consumer.assign(list(spans))
            self._consumer.resume(*spans)  # a partition that an earlier range paused stays paused otherwise
            for partition, span in spans.items():
                self._consumer.seek(partition, span.start)

    def _named(self, partitions: Collection[int]) -> list[TopicPartition]:
        return [TopicPartition(self.topic, partition) for partition in partitions]


class TopicFollower(Reader):
    """A reader of all partitions of a topic from a time on, and of those that it gets later from their beginning.

    Raises KafkaRefused if the topic does not exist.
    """

    def __init__(
        self, kafka: KafkaSettings, topic: str, from_ms: int, *, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(
            kafka, f"read {topic}", auto_offset_reset="earliest", metadata_max_age_ms=int(NEW_PARTITIONS_S * 500)
        )
        self.topic = topic
        self._monotonic_s = monotonic_s
        self._looked_s = monotonic_s()
        self._assigned = self._known()
        if not self._assigned:
            self.close()
            raise KafkaRefused("reader", f"no topic {topic}", "`sluicegate topics create` makes it")
        with translated(self._operation):
            self._consumer.assign(self._assigned)
            self._ends: dict[TopicPartition, int] = self._consumer.end_offsets(self._assigned)
            starts = self._consumer.offsets_for_times(dict.fromkeys(self._assigned, from_ms))
            for partition in self._assigned:
                at = starts[partition]
                self._consumer.seek(partition, self._ends[partition] if at is None else at.offset)

    def poll(self, timeout_s: float) -> list[Record]:
        """Return what was committed since the last call, possibly nothing, in offset order within a partition."""
        if self._monotonic_s() - self._looked_s >= NEW_PARTITIONS_S / 4:
            self._look_for_new()
        return [record_of(message) for messages in self._poll(timeout_s).values() for message in messages]

    def is_caught_up(self) -> bool:
        """Return whether everything has been read that was committed when this reader was made."""
        for partition, end in list(self._ends.items()):
            if self._position(partition) >= end:
                del self._ends[partition]
        return not self._ends

    def _look_for_new(self) -> None:
        self._looked_s = self._monotonic_s()
        known = self._known()
        new = [partition for partition in known if partition not in self._assigned]
        if new:
            with translated(self._operation):
                self._consumer.assign(known)  # keeps the positions of those that were assigned before
                self._consumer.seek_to_beginning(*new)
            self._assigned = known

    def _known(self) -> list[TopicPartition]:
        with translated(self._operation):
            numbers = self._consumer.partitions_for_topic(self.topic) or ()
        return [TopicPartition(self.topic, number) for number in sorted(numbers)]


def committed(kafka: KafkaSettings, group: str, topic: str, partitions: Collection[int]) -> dict[int, tuple[int, str]]:
    """Return (offset, metadata) that `group` has committed, by partition; a partition without is left out.

    Waits for transactions that are being decided. Joins nothing. Raises KafkaUnavailable and KafkaRefused.
    """
    with Reader(kafka, f"offsets of {group}", group_id=group) as reader:
        found = {partition: reader.committed(TopicPartition(topic, partition)) for partition in partitions}
    return {partition: (at.offset, at.metadata or "") for partition, at in found.items() if at and at.offset >= 0}


class ValueDecoder(Generic[T]):
    """A decoder of values of one kind, JSON or MessagePack as their `content-type` says."""

    def __init__(self, kind: type[T]) -> None:
        self._json = msgspec.json.Decoder(kind)
        self._msgpack = msgspec.msgpack.Decoder(kind)

    def __call__(self, record: Record) -> T | None:
        """Return the value of a record; None if it is not of that kind, or cannot be read."""
        if record.unreadable:
            return None
        content_type = last_header(record.headers, Header.CONTENT_TYPE) or ""
        decoder = self._msgpack if content_type.startswith(CONTENT_TYPE_MSGPACK) else self._json
        try:
            return decoder.decode(record.value or b"")
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None


def record_of(message: Any) -> Record:
    """Return a message of the library as a Record: time 0 if it has none, an empty value for a header without one."""
    return Record(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        timestamp_ms=max(message.timestamp, 0),
        key=message.key,
        value=message.value,
        headers=tuple([(name, value or b"") for name, value in message.headers]),
        unreadable=getattr(message, "unreadable", ""),
    )
