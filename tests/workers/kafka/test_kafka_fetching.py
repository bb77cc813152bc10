"""K6 and K11: how kafka-python stops delivering without a word, and that our options keep it going.

A test of the bare library shows the defect as it is. When it fails, the version in use has mended it: the rule that
answers it can go, and its row in docs/kafka.md.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer
from kafka.admin import KafkaAdminClient
from kafka.net.manager import KafkaConnectionManager  # pyright: ignore[reportMissingImports] - newer than the stubs
from kafka.structs import TopicPartition

from tests.contracts.delivery import read, settle
from tests.plugins.kafka_broker import Kafka
from tests.plugins.patience import PATIENCE_S, wait_until
from workers.kafka.client import admin_options, consumer_options, producer_options
from workers.kafka.library_fixes import GroupConsumer
from workers.kafka.source import KafkaSource
from workers.settings import KafkaSettings

RECORDS = 500
STALLED_S = 4.0
"""Long enough for hundreds of fetches."""

TRIES_MAX = 5

OUTAGE_S = 2.0
"""Besides the seconds that a broker takes to start."""


def _in_portions(**options: Any) -> Any:
    """As many users of the library do, to bound the memory that a poll takes."""
    return GroupConsumer(**{**options, "max_poll_records": 100})


def _delivered_after_a_pause(kafka: Kafka, make_consumer: Callable[..., Any], wait_s: float) -> int:
    """Records of a partition that was paused while another was read to its end, and then resumed for `wait_s`."""
    topic = kafka.topic(2)
    kafka.send(topic, *[b"x"] * RECORDS, partition=0)
    kafka.send(topic, *[b"y"] * 10, partition=1)
    source = KafkaSource(kafka.settings(), topic, 0, make_consumer=make_consumer)
    seen = [0, 0]

    def polled() -> bool:
        for record in source.poll(0.05):
            seen[record.partition] += 1
        return True

    try:
        wait_until(lambda: polled() and seen[0] > 0)
        source.pause([(topic, 0)])
        wait_until(lambda: polled() and seen[1] == 10)
        kafka.send(topic, *[b"y"] * 10, partition=1)
        wait_until(lambda: polled() and seen[1] == 20)
        source.pause(())
        deadline_s = time.monotonic() + wait_s
        while seen[0] < RECORDS and time.monotonic() < deadline_s:
            polled()
    finally:
        source.close()
    return seen[0]


@pytest.mark.kafka
def test_with_a_limit_on_records_the_library_never_delivers_a_resumed_partition(kafka: Kafka) -> None:
    """K6. When this fails, the rule can go: no `max_poll_records`. Mostly records are at hand at the pause."""
    assert any(_delivered_after_a_pause(kafka, _in_portions, STALLED_S) <= 100 for _ in range(TRIES_MAX))


@pytest.mark.kafka
def test_a_resumed_partition_delivers_whatever_was_read_meanwhile(kafka: Kafka) -> None:
    """K6."""
    assert _delivered_after_a_pause(kafka, GroupConsumer, PATIENCE_S) == RECORDS


def _backoff_s(options: dict[str, Any]) -> float:
    """How long a client waits to connect again after ten failures in a row, at least."""
    names = ("reconnect_backoff_ms", "reconnect_backoff_max_ms")
    manager: Any = KafkaConnectionManager.__new__(KafkaConnectionManager)
    manager.config = {**KafkaConnectionManager.DEFAULT_CONFIG, **{n: options[n] for n in names if n in options}}
    manager._backoff = {}
    return min(max(manager.update_backoff(node) for _ in range(10)) for node in range(5)) / 1000


def test_the_library_waits_half_a_minute_to_connect_again() -> None:
    """K11. When this fails, the rule can go: `reconnect_backoff_max_ms` on every client."""
    for client in (KafkaConsumer, KafkaProducer, KafkaAdminClient):
        assert client.DEFAULT_CONFIG["reconnect_backoff_max_ms"] == 30_000  # pyright: ignore[reportAttributeAccessIssue]
    assert _backoff_s({}) > 10


@pytest.mark.parametrize(
    "build",
    [partial(consumer_options, instance_id="slot"), partial(producer_options, transactional_id="slot"), admin_options],
    ids=["consumer", "producer", "admin"],
)
def test_ours_connect_again_within_a_second(build: Callable[[KafkaSettings], dict[str, Any]]) -> None:
    """K11."""
    assert _backoff_s(build(KafkaSettings())) < 1


@pytest.mark.kafka
def test_every_client_works_again_after_an_outage(kafka: Kafka) -> None:
    """K11, with all kinds of clients through one outage that is long enough for their back-off to grow."""
    topic = kafka.topic()
    settings = kafka.settings()
    source = KafkaSource(settings, topic, 0)
    reader: Any = KafkaConsumer(**consumer_options(settings))
    producer: Any = KafkaProducer(**producer_options(settings))
    admin: Any = KafkaAdminClient(**admin_options(settings))
    try:
        settle(source)
        reader.assign([TopicPartition(topic, 0)])
        producer.send(topic, value=b"before").get(timeout=PATIENCE_S)
        read(source, 1)
        wait_until(lambda: bool(reader.poll(timeout_ms=100)))
        kafka.broker.kill()
        down_s = time.monotonic()
        while time.monotonic() - down_s < OUTAGE_S:
            source.poll(0.05)
            reader.poll(timeout_ms=50)
        kafka.broker.start(PATIENCE_S)
        producer.send(topic, value=b"after").get(timeout=PATIENCE_S)
        read(source, 1)
        wait_until(lambda: bool(reader.poll(timeout_ms=100)))
        assert topic in admin.list_topics()
    finally:
        for client in (source, reader, producer, admin):
            client.close()
