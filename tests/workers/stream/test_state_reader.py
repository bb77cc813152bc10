"""Reading a partition's states on the real broker: what is committed, all of it, or a reason why not."""

import threading
from collections.abc import Generator
from typing import Any

import pytest
from kafka import KafkaProducer

from tests.plugins.kafka_broker import Kafka
from tests.plugins.patience import PATIENCE_S
from topology.contract.records import Record
from workers.kafka.client import producer_options
from workers.kafka.errors import StatesUnreadable
from workers.stream.state_reader import StateReader

pytestmark = pytest.mark.kafka

HELD_S = 0.5


def values(records: list[Record]) -> list[bytes | None]:
    return [record.value for record in records]


@pytest.fixture
def producer(kafka: Kafka) -> Generator[Any]:
    settings = kafka.settings()
    made: Any = KafkaProducer(**producer_options(settings, transactional_id=settings.group_id))
    made.init_transactions()
    yield made
    made.close(timeout=1)


def test_it_reads_what_is_committed_and_ends_behind_what_was_aborted(kafka: Kafka, producer: Any) -> None:
    topic = kafka.topic(2)
    reader = StateReader(kafka.settings(), topic, PATIENCE_S)
    assert values(list(reader.read(1))) == []
    for value, is_committed in ((b"first", True), (b"aborted", False)):
        producer.begin_transaction()
        producer.send(topic, value=value, key=b"c", partition=1).get(timeout=PATIENCE_S)
        (producer.commit_transaction if is_committed else producer.abort_transaction)()
    assert values(list(reader.read(1))) == [b"first"]
    assert values(list(reader.read(0))) == []
    reader.close()


def test_a_transaction_that_is_open_is_waited_for(kafka: Kafka, producer: Any) -> None:
    """Its offsets may be decided, and its markers on their way."""
    topic = kafka.topic()
    producer.begin_transaction()
    producer.send(topic, value=b"late", key=b"c").get(timeout=PATIENCE_S)
    timer = threading.Timer(HELD_S, producer.commit_transaction)
    timer.start()
    reader = StateReader(kafka.settings(), topic, PATIENCE_S)
    assert values(list(reader.read(0))) == [b"late"]
    reader.close()
    timer.join()


def test_what_does_not_end_in_time_is_unreadable(kafka: Kafka, producer: Any) -> None:
    topic = kafka.topic()
    producer.begin_transaction()
    producer.send(topic, value=b"never", key=b"c").get(timeout=PATIENCE_S)
    reader = StateReader(kafka.settings(), topic, 1.0)
    with pytest.raises(StatesUnreadable, match="not read up to offset 1 within 1 s"):
        list(reader.read(0))
    reader.close()
    producer.abort_transaction()


def test_a_topic_with_fewer_partitions_than_the_input_is_said_to_be_one(kafka: Kafka) -> None:
    topic = kafka.topic(2)
    reader = StateReader(kafka.settings(), topic, PATIENCE_S)
    with pytest.raises(StatesUnreadable, match=f"{topic} has 2 partitions and must have as many as the input"):
        list(reader.read(2))
    reader.close()


def test_brokers_that_are_away_are_a_reason(kafka: Kafka) -> None:
    topic = kafka.topic()
    settings = kafka.settings(bootstrap_servers=("127.0.0.1:1",))
    reader = StateReader(settings, topic, 0.2)
    with pytest.raises(StatesUnreadable, match="KafkaUnavailable"):
        list(reader.read(0))
