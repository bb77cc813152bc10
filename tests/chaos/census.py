"""Counts over everything that a run wrote, seen by two readers that share no code.

The input topic is the truth about what was sent: every record that stands there ends as `docs/contract.md` says. What
a record must end as is `workers.commands.demo.census`; this adds the order of responses, the committed positions, and
both readers.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from kafka import KafkaConsumer
from kafka.admin import KafkaAdminClient
from kafka.structs import TopicPartition
from msgspec import Struct

from topology.contract.errors import DeadLetterReason
from topology.contract.records import PartitionId, PartitionOffset, Record
from topology.delivery.offset_map import decode
from workers.commands.demo.census import Sent, take_census
from workers.kafka.client import admin_options, connect, consumer_options
from workers.kafka.reader import read_topic
from workers.settings import KafkaSettings, TopicSettings

READ_TIMEOUT_S = 120.0
EXAMPLES_MAX = 5
"""Names kept of each fault; the counts are of all."""

KAFKA_PYTHON, LIBRDKAFKA = "kafka-python", "librdkafka"


class Output(Struct, frozen=True, kw_only=True):
    """What one read_committed reader saw, each topic partition by partition in offset order."""

    audited: Sequence[Record]
    audit: Sequence[Record]
    dead_letters: Sequence[Record]


class Count(Struct, frozen=True, kw_only=True):
    """One reader's census. `out_of_order` counts conversations, per source partition; all zero: exactly once."""

    reader: str
    sent: int
    answered: int
    dead_lettered: int
    lost: int = 0
    duplicated: int = 0
    out_of_order: int = 0
    unaudited: int = 0
    wrong_reason: int = 0
    unexpected: int = 0
    quarantined: int = 0
    """Answered `withheld` because their workers were killed too often while they ran: no fault, but to be seen."""
    examples: dict[str, tuple[str, ...]] = {}

    @property
    def fault_count(self) -> int:
        """Everything that must not be."""
        kinds = (self.lost, self.duplicated, self.out_of_order, self.unaudited, self.wrong_reason, self.unexpected)
        return sum(kinds)


class _Named(Struct):
    event_id: str
    conversation_id: str


class _Input(_Named):
    messages: list[object]


_named = msgspec.json.Decoder(_Named)
_input = msgspec.json.Decoder(_Input)


def sent_records(records: Iterable[Record]) -> list[Sent]:
    """What the input topic holds; a record that is not JSON, or has no message, must become a dead letter."""
    return [_sent(record) for record in records]


def _sent(record: Record) -> Sent:
    try:
        named = _input.decode(record.value or b"")
        event_id, expected = named.event_id, None if named.messages else DeadLetterReason.INVALID
    except msgspec.DecodeError:
        event_id, expected = "", DeadLetterReason.MALFORMED
    return Sent(
        name=event_id or f"{record.topic}/{record.partition}/{record.offset}",
        event_id=event_id,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        expected=expected,
    )


def count(reader: str, sent: Sequence[Sent], output: Output) -> Count:
    """The census of what `reader` saw."""
    census = take_census(sent, output.audited, output.audit, output.dead_letters)
    disordered = dict.fromkeys((*census.out_of_order, *_out_of_order(sent, output.audited)))
    faults: dict[str, Sequence[str]] = {
        "lost": census.lost,
        "duplicated": census.duplicated,
        "out_of_order": tuple(disordered),
        "unaudited": census.unaudited,
        "wrong_reason": census.wrong_reason,
        "unexpected": census.unexpected,
    }
    return Count(
        reader=reader,
        sent=len(sent),
        answered=census.answered_count,
        dead_lettered=census.dead_lettered_count,
        quarantined=census.dead_letter_reasons.get(DeadLetterReason.POISON.value, 0),
        examples={name: tuple(found[:EXAMPLES_MAX]) for name, found in faults.items() if found},
        **{name: len(found) for name, found in faults.items()},
    )


def _out_of_order(sent: Sequence[Sent], audited: Iterable[Record]) -> Iterable[str]:
    """Conversations whose responses go back within one source partition."""
    positions = {one.event_id: one for one in sent if one.event_id}
    last: dict[tuple[str, str, int], int] = {}
    for record in audited:
        named = _named.decode(record.value or b"")
        if (one := positions.get(named.event_id)) is None:
            continue  # counted as unexpected
        key = (named.conversation_id, one.topic, one.partition)
        if one.offset < last.get(key, -1):
            yield named.conversation_id
        last[key] = max(one.offset, last.get(key, -1))


def uncommitted(sent: Iterable[Sent], committed: Mapping[PartitionId, PartitionOffset]) -> list[str]:
    """Records that the group's committed positions and maps do not call done."""
    done = {place: (found.offset, decode(found.metadata, found.offset)) for place, found in committed.items()}
    left: list[str] = []
    for one in sent:
        base, above = done.get((one.topic, one.partition), (0, None))
        is_above = above is not None and base <= one.offset < above.next and one.offset not in above.incomplete
        if one.offset >= base and not is_above:
            left.append(one.name)
    return left


def committed_positions(kafka: KafkaSettings, topic: str) -> dict[PartitionId, PartitionOffset]:
    """Where the group stands in `topic`."""
    options = admin_options(kafka)
    client: Any = connect("admin", lambda: KafkaAdminClient(**options), kafka.connect_timeout_s)
    try:
        found = client.list_group_offsets({kafka.group_id: None})[kafka.group_id]
    finally:
        client.close()
    return {
        (partition.topic, partition.partition): PartitionOffset(
            topic=partition.topic, partition=partition.partition, offset=at.offset, metadata=at.metadata or ""
        )
        for partition, at in found.items()
        if partition.topic == topic and at.offset >= 0
    }


def end_offsets(kafka: KafkaSettings, topic: str, *, isolation: str = "read_committed") -> dict[PartitionId, int]:
    """The offset up to which such a reader can read each partition now."""
    options: dict[str, Any] = {**consumer_options(kafka), "isolation_level": isolation}
    consumer: Any = connect("reader", lambda: KafkaConsumer(**options), kafka.connect_timeout_s)
    try:
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
        ends = consumer.end_offsets(partitions)
    finally:
        consumer.close()
    return {(partition.topic, partition.partition): end for partition, end in ends.items()}


def read_with_kafka_python(kafka: KafkaSettings, topics: TopicSettings) -> Output:
    """Everything committed. Raises TimeoutError where an open transaction holds it back for READ_TIMEOUT_S."""
    audited, audit, letters = (
        read_topic(kafka, topic, READ_TIMEOUT_S) for topic in (topics.audited, topics.audit, topics.dead_letters)
    )
    return Output(audited=audited, audit=audit, dead_letters=letters)


def read_with_librdkafka(kafka: KafkaSettings, topics: TopicSettings) -> Output:
    """As `read_with_kafka_python`, by the other client."""
    audited, audit, letters = (_read(kafka, topic) for topic in (topics.audited, topics.audit, topics.dead_letters))
    return Output(audited=audited, audit=audit, dead_letters=letters)


def _read(kafka: KafkaSettings, topic: str) -> list[Record]:
    from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

    consumer: Any = Consumer(
        {
            "bootstrap.servers": ",".join(kafka.bootstrap_servers),
            "group.id": "census",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
        }
    )
    deadline_s = time.monotonic() + READ_TIMEOUT_S
    records: list[Record] = []
    try:
        partitions = consumer.list_topics(topic, READ_TIMEOUT_S).topics[topic].partitions
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
        open_partitions = set(partitions)
        while open_partitions:
            if time.monotonic() >= deadline_s:
                raise TimeoutError(f"{topic} could not be read to its end in {READ_TIMEOUT_S:g} s")
            for message in consumer.consume(1000, 0.5):
                if message.error() is None:
                    records.append(_record(message))
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    open_partitions.discard(message.partition())
    finally:
        consumer.close()
    return records


def _record(message: Any) -> Record:
    """A message of librdkafka as ours."""
    return Record(
        topic=message.topic(),
        partition=message.partition(),
        offset=message.offset(),
        timestamp_ms=max(0, message.timestamp()[1]),
        key=message.key(),
        value=message.value(),
        headers=tuple((name, value or b"") for name, value in message.headers() or ()),
    )
