"""Reads topics outside of any group, committed records only: for people, the census and tests."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import msgspec
from kafka import KafkaConsumer
from kafka.structs import TopicPartition

from topology.contract.headers import last_header
from topology.contract.names import CONTENT_TYPE_MSGPACK, Header
from topology.contract.records import Record
from workers.kafka.client import connect, consumer_options
from workers.kafka.errors import KafkaRefused
from workers.settings import KafkaSettings

logger = logging.getLogger("sluicegate.reader")

POLL_S = 0.2

T = TypeVar("T")


class TopicReader:
    """A reader of `topics`, from their beginning or from now. All calls on one thread.

    Raises KafkaUnavailable where the brokers are not there within `connect_timeout_s`, KafkaRefused without a topic.
    """

    def __init__(self, kafka: KafkaSettings, topics: Sequence[str], *, from_beginning: bool) -> None:
        options = consumer_options(kafka)
        self._consumer: Any = connect("reader", lambda: KafkaConsumer(**options), kafka.connect_timeout_s)
        self._partitions = [
            TopicPartition(topic, partition)
            for topic in topics
            for partition in sorted(self._consumer.partitions_for_topic(topic) or ())
        ]
        if not self._partitions:
            self._consumer.close()
            raise KafkaRefused("reader", f"no topic {', '.join(topics)}", "`sluicegate topics create` makes it")
        self._consumer.assign(self._partitions)
        if from_beginning:
            self._consumer.seek_to_beginning(*self._partitions)
        else:
            self._consumer.seek_to_end(*self._partitions)
            for partition in self._partitions:
                self._consumer.position(partition)

    def poll(self, timeout_s: float) -> list[Record]:
        """What was committed since, possibly nothing."""
        found: dict[TopicPartition, list[Any]] = self._consumer.poll(timeout_ms=int(timeout_s * 1000))
        return [as_record(message) for messages in found.values() for message in messages]

    def read_to_end(self, timeout_s: float, *, monotonic_s: Callable[[], float] = time.monotonic) -> Iterator[Record]:
        """Everything that was committed when this was called. Raises TimeoutError where it does not arrive in time."""
        ends: dict[TopicPartition, int] = self._consumer.end_offsets(self._partitions)
        deadline_s = monotonic_s() + timeout_s
        while any(self._consumer.position(partition) < end for partition, end in ends.items()):
            if monotonic_s() >= deadline_s:
                raise TimeoutError(f"the topics could not be read to their end in {timeout_s:g} s")
            for record in self.poll(POLL_S):
                if record.offset < ends[TopicPartition(record.topic, record.partition)]:
                    yield record

    def close(self) -> None:
        """Release the connections."""
        self._consumer.close()


def read_topic(kafka: KafkaSettings, topic: str, timeout_s: float = 30.0) -> list[Record]:
    """All committed records of one topic, partition by partition in offset order."""
    reader = TopicReader(kafka, [topic], from_beginning=True)
    try:
        return list(reader.read_to_end(timeout_s))
    finally:
        reader.close()


class ValueDecoder(Generic[T]):
    """Reads values of one kind, JSON or MessagePack as their `content-type` says."""

    def __init__(self, kind: type[T]) -> None:
        self._json = msgspec.json.Decoder(kind)
        self._msgpack = msgspec.msgpack.Decoder(kind)

    def __call__(self, record: Record) -> T | None:
        """The value of a record; None where it is none of that kind."""
        content_type = last_header(record.headers, Header.CONTENT_TYPE) or ""
        decoder = self._msgpack if content_type.startswith(CONTENT_TYPE_MSGPACK) else self._json
        try:
            return decoder.decode(record.value or b"")
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None


def as_record(message: Any) -> Record:
    """A kafka-python message as ours."""
    return Record(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        timestamp_ms=max(0, message.timestamp),
        key=message.key,
        value=message.value,
        headers=tuple((name, value if value is not None else b"") for name, value in message.headers or ()),
    )
