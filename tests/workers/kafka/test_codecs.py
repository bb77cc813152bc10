"""Records that a producer, or the broker on behalf of its topic, has compressed with each codec that Kafka has."""

import pytest
from confluent_kafka import Producer

from tests.contracts.delivery import read, values
from tests.plugins.kafka_broker import Kafka
from workers.kafka.source import KafkaSource
from workers.kafka.topics import COMPRESSIONS

pytestmark = pytest.mark.kafka

CODECS = tuple(codec for codec in COMPRESSIONS if codec not in {"producer", "uncompressed"})
TEXTS = [b"%d: what is a tide? " % n * 40 for n in range(20)]


@pytest.mark.parametrize("codec", CODECS)
def test_what_a_producer_compressed_is_read(kafka: Kafka, codec: str) -> None:
    topic = kafka.topic()
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "compression.type": codec, "linger.ms": 50})
    for text in TEXTS:
        producer.produce(topic, text, key=b"key")
    producer.flush()
    _read_all(kafka, topic)


@pytest.mark.parametrize("codec", CODECS)
def test_what_the_broker_compressed_for_a_topic_is_read(kafka: Kafka, codec: str) -> None:
    topic = kafka.topic(configs={"compression.type": codec})
    kafka.send(topic, *TEXTS, key=b"key")
    _read_all(kafka, topic)


def _read_all(kafka: Kafka, topic: str) -> None:
    source = KafkaSource(kafka.settings(), topic, 0)
    try:
        assert values(read(source, len(TEXTS))) == TEXTS
    finally:
        source.close()
