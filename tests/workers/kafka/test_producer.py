"""A round sent by our producer is the one that the library's own would have sent, and breaks where that one's does."""

import itertools
import random
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from kafka import KafkaProducer
from kafka.errors import IllegalStateError, KafkaError, MessageSizeTooLargeError

from tests.plugins.kafka_broker import Kafka
from tests.plugins.patience import PATIENCE_S, wait_until
from topology.contract.records import Record
from workers.kafka.client import REQUEST_BYTES_MAX, producer_options
from workers.kafka.producer import PLAIN_VALUE_BYTES_MAX, RoundProducer
from workers.kafka.reader import read_topic

pytestmark = pytest.mark.kafka

NAMES = itertools.count()


@contextmanager
def started(kafka: Kafka, make: Callable[..., Any] = RoundProducer, **changed: object) -> Generator[Any]:
    """A producer in a transaction."""
    options = {**producer_options(kafka.settings(), transactional_id=f"producer-{next(NAMES)}"), **changed}
    producer: Any = make(**options)
    try:
        producer.init_transactions()
        producer.begin_transaction()
        yield producer
    finally:
        producer.close(timeout=1)


def committed(producer: Any) -> None:
    producer.flush(PATIENCE_S)
    producer.commit_transaction()


def round_of(seed: int) -> Iterator[dict[str, Any]]:
    """Records as a sink sends them, several under each key, and some out of the ordinary."""
    numbers = random.Random(seed)
    for index in range(120):
        key = f"conversation-{numbers.randrange(30)}".encode()
        headers = [(f"name-{at}", numbers.randbytes(at)) for at in range(numbers.randrange(4))]
        yield {"key": key, "value": numbers.randbytes(numbers.randrange(400)), "headers": headers}
        if index % 20 == 0:
            yield {"key": key, "value": b"placed", "headers": headers, "partition": numbers.randrange(3)}
            yield {"key": key, "value": b"dated", "headers": [], "partition": 1, "timestamp_ms": 1_700_000_000_000}
            yield {"key": key, "value": None, "headers": headers}
    yield {"key": b"long", "value": bytes(PLAIN_VALUE_BYTES_MAX + 1), "headers": []}


def as_sent(records: list[Record]) -> list[tuple[object, ...]]:
    return [(read.partition, read.key, read.value, read.headers) for read in records]


def test_it_sends_what_the_library_sends(kafka: Kafka) -> None:
    sent: list[list[Record]] = []
    for make in (KafkaProducer, RoundProducer):
        topic = kafka.topic(partitions=3, configs={"max.message.bytes": str(REQUEST_BYTES_MAX)})
        with started(kafka, make) as producer:
            for _ in range(2):
                futures = [producer.send(topic, **record) for record in round_of(7)]
                committed(producer)
                assert all(future.succeeded() for future in futures)
                producer.begin_transaction()
        sent.append(read_topic(kafka.settings(), topic))
    library, ours = sent
    assert as_sent(ours) == as_sent(library)
    assert [each.timestamp_ms for each in ours if each.value == b"dated"] == [1_700_000_000_000] * 12


def test_a_full_batch_does_not_wait_for_the_flush(kafka: Kafka) -> None:
    topic = kafka.topic()
    with started(kafka, batch_size=1024, linger_ms=0) as producer:
        first = producer.send(topic, value=bytes(600), key=b"k")
        producer.send(topic, value=bytes(600), key=b"k")
        assert first.get(timeout=PATIENCE_S).offset == 0


def test_a_key_follows_its_topic_that_has_grown_from_the_next_transaction_on(kafka: Kafka) -> None:
    topic = kafka.topic(partitions=1, configs={"max.message.bytes": str(REQUEST_BYTES_MAX)})
    keys = [f"key-{number}".encode() for number in range(20)]
    with started(kafka) as producer:
        for is_grown in (False, True):
            producer.send(topic, value=b"known from here on", key=b"k", partition=0)
            if is_grown:
                kafka.grow(topic, 2)
                producer._metadata.request_update()
                wait_until(lambda: len(producer.partitions_for(topic)) == 2)
            values = (b"before", b"b" * (PLAIN_VALUE_BYTES_MAX + 1))
            sent = [producer.send(topic, value=value, key=key) for value in values for key in keys[:10]]
            assert {partition_of(future) for future in sent} == {0}
            committed(producer)
            producer.begin_transaction()
        assert {partition_of(producer.send(topic, value=b"after", key=key)) for key in keys} == {0, 1}
        committed(producer)


def test_a_record_without_a_key_goes_anywhere(kafka: Kafka) -> None:
    topic = kafka.topic(partitions=3)
    with started(kafka) as producer:
        places = {producer.send(topic, value=b"keyless").get(timeout=PATIENCE_S).partition for _ in range(60)}
        committed(producer)
    assert places == {0, 1, 2}
    assert [(read.key, read.value) for read in read_topic(kafka.settings(), topic)] == [(None, b"keyless")] * 60


def test_an_unknown_topic_is_an_error(kafka: Kafka) -> None:
    with started(kafka, max_block_ms=500) as producer, pytest.raises(KafkaError):
        producer.send("no-such-topic", value=b"v", key=b"k")


def test_a_partition_that_is_not_there_is_refused(kafka: Kafka) -> None:
    with started(kafka) as producer, pytest.raises(ValueError, match="partition 5"):
        producer.send(kafka.topic(partitions=2), value=b"v", key=b"k", partition=5)


def test_a_record_that_no_request_holds_is_refused(kafka: Kafka) -> None:
    with started(kafka) as producer, pytest.raises(MessageSizeTooLargeError):
        producer.send(kafka.topic(), value=bytes(REQUEST_BYTES_MAX), key=b"k")


def test_nothing_is_sent_outside_of_a_transaction(kafka: Kafka) -> None:
    topic = kafka.topic()
    with started(kafka) as producer:
        producer.send(topic, value=b"in", key=b"k")
        committed(producer)
        with pytest.raises(IllegalStateError):
            _send_and_commit(producer, topic)
    assert [read.value for read in read_topic(kafka.settings(), topic)] == [b"in"]


def test_nothing_of_a_broken_transaction_is_committed(kafka: Kafka) -> None:
    topic = kafka.topic()
    with started(kafka) as producer:
        sent = [producer.send(topic, value=b"before", key=b"k") for _ in range(2)]
        producer.flush(PATIENCE_S)
        producer._transaction_manager.transition_to_abortable_error(KafkaError("broken"))
        late = producer.send(topic, value=b"after", key=b"k")
        with pytest.raises(KafkaError):
            committed(producer)
        assert [future.succeeded() for future in (*sent, late)] == [True, True, False]
        producer.abort_transaction()
    assert read_topic(kafka.settings(), topic) == []


def test_nothing_is_sent_by_a_producer_that_is_closed(kafka: Kafka) -> None:
    topic = kafka.topic()
    with started(kafka) as producer:
        producer.send(topic, value=b"in", key=b"k").get(timeout=PATIENCE_S)
        producer.close(timeout=1)
        with pytest.raises(IllegalStateError):
            producer.send(topic, value=b"after", key=b"k")


def partition_of(future: Any) -> int:
    """Where a record goes that may not have been sent yet."""
    return future._produce_future.topic_partition.partition


def _send_and_commit(producer: Any, topic: str) -> None:
    producer.send(topic, value=b"out", key=b"k")
    committed(producer)
