"""The stand-in for Kafka: it carries a worker's source and sink, and says what it does not do."""

from collections.abc import Generator
from typing import Any

import pytest
from kafka import KafkaProducer

from topology.contract.records import OutRecord, PartitionOffset, Record
from workers.development.mock_broker import NOTICE, MockBroker
from workers.kafka.client import producer_options
from workers.kafka.sink import TransactionalSink
from workers.kafka.source import KafkaSource
from workers.kafka.topics import create_topics
from workers.settings import KafkaSettings, TopicSettings

PRODUCE = 0
NOT_ENOUGH_REPLICAS = 19
TOPICS = TopicSettings()
POLLS_MAX = 400


@pytest.fixture
def broker() -> Generator[MockBroker]:
    with MockBroker() as started:
        yield started


@pytest.fixture
def settings(broker: MockBroker) -> KafkaSettings:
    return KafkaSettings(
        bootstrap_servers=(broker.bootstrap,),
        api_version=broker.api_version,
        request_timeout_ms=1000,
        delivery_timeout_ms=1500,
        connect_timeout_s=60,
    )


def _must_not_exit(code: int) -> None:
    raise AssertionError(f"the process would have ended with {code}")


def _send(settings: KafkaSettings, value: bytes) -> None:
    producer: Any = KafkaProducer(**producer_options(settings))
    producer.send(TOPICS.events, value=value, key=b"key", headers=[("name", b"value")]).get(timeout=60)
    producer.close(timeout=1)


def _read_one(source: KafkaSource) -> Record:
    for _ in range(POLLS_MAX):
        if records := source.poll(0.05):
            return records[0]
    pytest.fail(f"nothing read in {POLLS_MAX} polls")


def test_a_worker_reads_and_commits_on_it(broker: MockBroker, settings: KafkaSettings) -> None:
    _send(settings, b"event")
    source = KafkaSource(settings, TOPICS.events, 0)
    sink = TransactionalSink(settings, 0, exit_process=_must_not_exit)
    try:
        record = _read_one(source)
        assert (record.key, record.value, record.headers) == (b"key", b"event", (("name", b"value"),))
        ownership = source.ownership()
        assert ownership is not None
        after = PartitionOffset(topic=record.topic, partition=record.partition, offset=record.offset + 1)
        assert sink.commit([OutRecord(topic=TOPICS.audited, key=b"key", value=b"answer")], [after], ownership)
    finally:
        source.close()
        sink.close()


def test_a_record_given_up_inside_a_transaction_is_no_success(broker: MockBroker, settings: KafkaSettings) -> None:
    """K1: the client's commit succeeds all the same; only the record's own future tells."""
    _send(settings, b"event")
    source = KafkaSource(settings, TOPICS.events, 0)
    sink = TransactionalSink(settings, 0, exit_process=_must_not_exit)
    try:
        _read_one(source)
        ownership = source.ownership()
        assert ownership is not None
        answer = OutRecord(topic=TOPICS.audited, key=b"key", value=b"answer")
        broker.fail(PRODUCE, [NOT_ENOUGH_REPLICAS] * 200)
        assert not sink.commit([answer], [], ownership)
    finally:
        source.close()
        sink.close()


def test_topics_are_left_to_it(settings: KafkaSettings) -> None:
    said: list[str] = []
    assert create_topics(settings, TOPICS, said.append).is_fit
    assert "mock broker" in said[0]


def test_it_says_what_it_does_not_do() -> None:
    assert "without real transactions" in NOTICE
