"""K20: a position that its partition does not have any more."""

import logging
from collections.abc import Callable, Generator
from typing import Any

import pytest
from kafka.admin import KafkaAdminClient
from kafka.structs import TopicPartition

from tests.contracts.delivery import after, read, settle, values
from tests.plugins.kafka_broker import Kafka
from topology.contract.records import PartitionOffset
from topology.telemetry.metrics import Metric
from workers.kafka.client import admin_options
from workers.kafka.sink import TransactionalSink
from workers.kafka.source import KafkaSource
from workers.settings import KafkaSettings

pytestmark = pytest.mark.kafka


class Counts:
    """Instruments that keep the counts of lost records."""

    def __init__(self) -> None:
        self.lost = 0.0

    def count(self, name: str, n: float = 1, **_: str) -> None:
        self.lost += n if name == Metric.RECORDS_LOST else 0

    def gauge_set(self, *_: object, **__: object) -> None: ...


@pytest.fixture
def opened() -> Generator[list[Any]]:
    clients: list[Any] = []
    yield clients
    for client in clients:
        client.close()


def _committed_at_two(kafka: Kafka, settings: KafkaSettings, opened: list[Any]) -> tuple[str, KafkaSource]:
    """A topic of five records, and a member that has read them and committed the first two."""
    topic = kafka.topic()
    kafka.send(topic, *[b"%d" % n for n in range(5)])
    source = KafkaSource(settings, topic, 0)
    sink = TransactionalSink(settings, 0)
    opened += [source, sink]
    records = read(source, 5)
    assert sink.commit([], [after(records[1])], settle(source))
    return topic, source


def _admin(kafka: Kafka, act: Callable[[Any], object]) -> None:
    client: Any = KafkaAdminClient(**admin_options(kafka.settings()))
    try:
        act(client)
    finally:
        client.close()


@pytest.mark.parametrize("reset", ["earliest", "latest"])
def test_records_that_retention_removed_are_counted_and_the_rest_is_read(
    kafka: Kafka, opened: list[Any], reset: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = kafka.settings()
    topic, first = _committed_at_two(kafka, settings, opened)
    first.close()
    _admin(kafka, lambda client: client.delete_records({TopicPartition(topic, 0): 4}))
    counts: Any = Counts()
    source = KafkaSource(kafka.settings(group_id=settings.group_id, auto_offset_reset=reset), topic, 0, metrics=counts)
    opened.append(source)
    with caplog.at_level(logging.ERROR, "sluicegate.source"):
        assert values(read(source, 1)) == [b"4"]
    assert counts.lost == 2
    (line,) = [each for each in caplog.records if "removed before they were read" in each.message]
    said: Any = line
    assert (vars(said)["from"], said.to, said.count, said.partition) == (2, 3, 2, 0)


def test_a_log_that_goes_back_is_read_anew_from_there(kafka: Kafka, opened: list[Any]) -> None:
    """As that of a topic that is deleted and made again: its records are not those that were delivered before."""
    topic, source = _committed_at_two(kafka, kafka.settings(), opened)
    source.positions()
    source._consumer.seek(TopicPartition(topic, 0), 1)  # pyright: ignore[reportPrivateUsage]
    found = read(source, 4)
    assert [record.offset for record in found] == [1, 2, 3, 4]
    assert source.positions() == [PartitionOffset(topic=topic, partition=0, offset=1)]
