"""A worker's source and sink on a real broker, and the library's own clients beside them, for tests of the rules."""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kafka import KafkaProducer
from kafka.structs import (
    ConsumerGroupMetadata,  # pyright: ignore[reportAttributeAccessIssue] - newer than the stubs
    OffsetAndMetadata,
    TopicPartition,
)

from tests.contracts.delivery import after, read, settle
from tests.plugins.kafka_broker import Kafka
from tests.plugins.patience import wait_until
from topology.contract.records import OutRecord, Ownership, PartitionOffset
from workers.kafka.client import consumer_options, producer_options, slot_name
from workers.kafka.library_fixes import GroupConsumer
from workers.kafka.producer import RoundProducer
from workers.kafka.sink import TransactionalSink
from workers.kafka.source import KafkaSource
from workers.settings import KafkaSettings

QUICK = {"request_timeout_ms": 1000, "delivery_timeout_ms": 1500, "transaction_timeout_ms": 4000}


class Ends:
    """Stands for the end of the process: records that it was asked for."""

    def __init__(self) -> None:
        self.codes: list[int] = []
        self.asked = threading.Event()

    def __call__(self, code: int) -> None:
        self.codes.append(code)
        self.asked.set()


class Slot:
    """A worker's source and sink that have read one record."""

    def __init__(self, kafka: Kafka, make_producer: Callable[..., Any] = RoundProducer, **changed: object) -> None:
        self.kafka = kafka
        self.input = kafka.topic()
        self.output = kafka.topic()
        self.settings: KafkaSettings = kafka.settings(**changed)
        self.ends = Ends()
        kafka.send(self.input, b"a", key=b"key")
        self.source = KafkaSource(self.settings, self.input, 0)
        self.sink = TransactionalSink(self.settings, 0, exit_process=self.ends, make_producer=make_producer)
        (record,) = read(self.source, 1)
        self.offset: PartitionOffset = after(record)
        self.ownership: Ownership = settle(self.source)

    def answer(self, value: bytes = b"A", headers: tuple[tuple[str, bytes], ...] = ()) -> OutRecord:
        return OutRecord(topic=self.output, key=b"key", value=value, headers=headers)

    def commit(self, *records: OutRecord) -> bool:
        return self.sink.commit(records or [self.answer()], [self.offset], self.ownership)

    def visible(self) -> list[bytes]:
        return self.kafka.values(self.output)

    def committed(self) -> int | None:
        return self.kafka.committed(self.settings, self.input)

    def close(self) -> None:
        self.source.close()
        self.sink.close()


@contextmanager
def open_slots(kafka: Kafka) -> Generator[Callable[..., Slot]]:
    """Makes slots that are closed at the end, with the broker answering again."""
    slots: list[Slot] = []

    def make(*arguments: Any, **changed: object) -> Slot:
        slots.append(Slot(kafka, *arguments, **changed))
        return slots[-1]

    try:
        yield make
    finally:
        kafka.repair()
        for slot in slots:
            slot.close()


def freeze(kafka: Kafka) -> None:
    """Stop the broker; returns once none of its threads can answer anything more."""
    kafka.broker.pause()
    tasks = Path(f"/proc/{kafka.broker.pid}/task")
    wait_until(lambda: all(_is_stopped(task) for task in tasks.iterdir()))


def _is_stopped(task: Path) -> bool:
    # The state comes after the name, which is in parentheses and may hold anything.
    return (task / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0] == "T"


@contextmanager
def frozen(kafka: Kafka) -> Generator[None]:
    """The broker answers nothing inside the block."""
    freeze(kafka)
    try:
        yield
    finally:
        kafka.broker.resume()


@contextmanager
def bare_producer(settings: KafkaSettings, slot: int = 0) -> Generator[Any]:
    """The library's transactional producer with our options and none of our rules."""
    producer: Any = KafkaProducer(**producer_options(settings, transactional_id=slot_name(settings, slot)))
    try:
        producer.init_transactions()
        yield producer
    finally:
        producer.close(timeout=1)


@contextmanager
def bare_member(settings: KafkaSettings, topic: str, listener: object = None, **changed: object) -> Generator[Any]:
    """The library's consumer as a member of the group, with our options but for `changed`.

    It has none of our rules but that it keeps its joins (K15): without, it may take minutes until the group settles.
    """
    options: dict[str, Any] = {**consumer_options(settings, instance_id=slot_name(settings, 0)), **changed}
    consumer: Any = GroupConsumer(**options)
    try:
        # An assignment is made of what the client knows of its topics; of one that it does not, nobody gets anything.
        wait_until(lambda: bool(consumer.partitions_for_topic(topic)))
        consumer.subscribe([topic], listener=listener)
        yield consumer
    finally:
        consumer.close(autocommit=False, timeout_ms=3000)


def nobody(settings: KafkaSettings) -> Any:
    """The identity of a client that is in no group, which brokers let commit for any."""
    return ConsumerGroupMetadata(group_id=settings.group_id)


def offset_of(topic: str, offset: int, partition: int = 0) -> dict[TopicPartition, OffsetAndMetadata]:
    """What a transaction is told to commit."""
    return {TopicPartition(topic, partition): OffsetAndMetadata(offset, "", -1)}
