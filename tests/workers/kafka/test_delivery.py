"""The real source and sink keep the contract that their fakes keep, on a real broker."""

from collections.abc import Generator
from contextlib import contextmanager

import pytest

from tests.contracts.delivery import DeliveryContract
from tests.plugins.kafka_broker import Kafka
from topology.ports import Sink, Source
from workers.kafka.sink_process import open_sink
from workers.kafka.source import KafkaSource


class KafkaWorld:
    """Closes at the end what the test has opened."""

    def __init__(self, kafka: Kafka, **changed: object) -> None:
        self._kafka = kafka
        self._input = kafka.topic(2)
        self.output_topic = kafka.topic()
        self.settings = kafka.settings(**changed)
        self._open: list[Source | Sink] = []

    def source(self, slot: int = 0) -> Source:
        source = KafkaSource(self.settings, self._input, slot)
        self._open.append(source)
        return source

    def sink(self, slot: int = 0) -> Sink:
        sink = open_sink(self.settings, slot, exit_process=must_not_exit)
        self._open.append(sink)
        return sink

    def send(self, value: bytes | None, *, key: bytes | None = b"key", partition: int = 0) -> None:
        self._kafka.send(self._input, value, key=key, partition=partition)

    def output(self) -> list[bytes]:
        return self._kafka.values(self.output_topic)

    def committed(self, partition: int = 0) -> int | None:
        return self._kafka.committed(self.settings, self._input, partition)

    def close(self) -> None:
        for client in self._open:
            client.close()


def must_not_exit(code: int) -> None:
    raise AssertionError(f"the process would have ended with {code}")


@pytest.mark.kafka
class TestKafka(DeliveryContract):
    producer_process = False

    @pytest.fixture(autouse=True)
    def _use(self, kafka: Kafka) -> None:
        self._kafka = kafka

    @contextmanager
    def world(self) -> Generator[KafkaWorld]:
        world = KafkaWorld(self._kafka, producer_process=self.producer_process)
        try:
            yield world
        finally:
            world.close()
