"""A real broker for tests: started once a session, fresh topic names for every test.

With KAFKA_BOOTSTRAP_SERVERS the session uses that broker; tests that kill or freeze theirs are then skipped.
"""

import os
import time
import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from kafka import KafkaConsumer, KafkaProducer
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.errors import KafkaError
from kafka.structs import TopicPartition

from tests.plugins.frame_proxy import FrameProxy
from tests.plugins.patience import PATIENCE_S, wait_until
from topology.contract.records import Record
from workers.development.broker import DevelopmentBroker
from workers.development.jars import BrokerError
from workers.kafka.client import admin_options, consumer_options, producer_options
from workers.kafka.source import KafkaSource
from workers.settings import KafkaSettings

BOOTSTRAP = "KAFKA_BOOTSTRAP_SERVERS"
PROXIED = "PROXIED"
"""The listener of the session's broker that a proxy stands before."""

MESSAGE_BYTES_MAX = 17 * 1024 * 1024

CALM: Final = {"session_timeout_ms": 30_000, "heartbeat_interval_ms": 1_000, "max_poll_interval_ms": 60_000}
"""For workers whose membership no test is about: a busy machine does not cost it."""


class Kafka:
    """What a test does with a broker besides what it tests."""

    def __init__(self, bootstrap: str, broker: DevelopmentBroker | None, proxy: FrameProxy | None = None) -> None:
        self.bootstrap = bootstrap
        self._broker = broker
        self._proxy = proxy
        self._admin: Any = KafkaAdminClient(**admin_options(self.settings()))
        options: dict[str, Any] = {**producer_options(self.settings()), "max_request_size": MESSAGE_BYTES_MAX}
        self._producer: Any = KafkaProducer(**options)

    @property
    def broker(self) -> DevelopmentBroker:
        """The process, for faults; skips the test where the broker is not ours."""
        if self._broker is None:
            pytest.skip(f"needs a broker of its own; {BOOTSTRAP} names one")
        return self._broker

    @property
    def proxy(self) -> FrameProxy:
        """The proxy before the broker's other listener; skips the test where the broker is not ours."""
        if self._proxy is None:
            pytest.skip(f"needs a broker of its own; {BOOTSTRAP} names one")
        return self._proxy

    def settings(self, **changed: object) -> KafkaSettings:
        """Settings for this broker with a group of their own and short times."""
        values: dict[str, Any] = {
            "bootstrap_servers": tuple(self.bootstrap.split(",")),
            "group_id": f"group-{uuid.uuid4().hex[:8]}",
            "session_timeout_ms": 6000,
            "heartbeat_interval_ms": 500,
            "max_poll_interval_ms": 8000,
            "connect_timeout_s": PATIENCE_S,
            **changed,
        }
        values.setdefault("rejoin_timeout_s", 3 * values["max_poll_interval_ms"] / 1000)
        return KafkaSettings(**values)

    def topic(self, partitions: int = 1, configs: Mapping[str, str] | None = None) -> str:
        """The name of a new topic."""
        name = f"topic-{uuid.uuid4().hex[:8]}"
        new = NewTopic(name, partitions, 1, topic_configs=dict(configs or {}))
        _once_connected(lambda: self._admin.create_topics([new]))
        wait_until(lambda: self._is_led(name, partitions))
        return name

    def grow(self, topic: str, partitions: int) -> None:
        """Give a topic more partitions, `partitions` in all."""
        _once_connected(lambda: self._admin.create_partitions({topic: partitions}))
        wait_until(lambda: self._is_led(topic, partitions))

    def _is_led(self, topic: str, partitions: int) -> bool:
        (found,) = _once_connected(lambda: self._admin.describe_topics([topic]))
        return sum(1 for partition in found["partitions"] if partition["leader_id"] >= 0) == partitions

    def send(self, topic: str, *values: bytes | None, key: bytes | None = None, partition: int | None = None) -> None:
        """Write records without a transaction."""
        sent = [self._producer.send(topic, value=value, key=key, partition=partition) for value in values]
        self._producer.flush(PATIENCE_S)
        for future in sent:
            future.get(timeout=PATIENCE_S)

    def send_record(self, topic: str, value: bytes | None, key: bytes | None, headers: list[tuple[str, bytes]]) -> None:
        """Write one record with headers."""
        self._producer.send(topic, value=value, key=key, headers=headers).get(timeout=PATIENCE_S)

    def values(self, topic: str, *, isolation: str = "read_committed", wait_s: float = PATIENCE_S) -> list[bytes]:
        """The values a reader sees up to the end of the topic as it is now, partition by partition.

        Waits for what an open transaction holds back, at most `wait_s`.
        """
        options: dict[str, Any] = {**consumer_options(self.settings()), "isolation_level": isolation}
        consumer: Any = KafkaConsumer(**options)
        try:
            numbers = _once_connected(lambda: consumer.partitions_for_topic(topic))
            partitions = [TopicPartition(topic, number) for number in sorted(numbers)]
            consumer.assign(partitions)
            ends = _once_connected(lambda: consumer.end_offsets(partitions))
            found: dict[TopicPartition, list[bytes]] = {partition: [] for partition in partitions}
            deadline_s = time.monotonic() + wait_s
            while any(consumer.position(p) < ends[p] for p in partitions) and time.monotonic() < deadline_s:
                for partition, records in consumer.poll(timeout_ms=100).items():
                    found[partition].extend(record.value for record in records)
            return [value for partition in partitions for value in found[partition]]
        finally:
            consumer.close()

    def committed(self, settings: KafkaSettings, topic: str, partition: int = 0) -> int | None:
        """The group's committed offset; None where there is none."""
        groups = {settings.group_id: None}
        offsets = _once_connected(lambda: self._admin.list_group_offsets(groups))[settings.group_id]
        found = offsets.get(TopicPartition(topic, partition))
        return None if found is None or found.offset < 0 else found.offset

    def transaction_state(self, transactional_id: str) -> str:
        """The state of the last transaction under an id, as the brokers call it."""
        found = _once_connected(lambda: self._admin.describe_transactions([transactional_id]))
        return found[transactional_id].state.value

    def repair(self) -> None:
        """Have the broker running and answering again, whatever a test did to it."""
        if self._broker is None:
            return
        if self._broker.is_running:
            self._broker.resume()
        else:
            self._broker.start(PATIENCE_S)

    def close(self) -> None:
        """Release the clients."""
        self._producer.close(timeout=1)
        self._admin.close()


def _once_connected(ask: Callable[[], Any]) -> Any:
    """Return the answer; ask again while the error is one that passes, such as a group without a coordinator.

    A broker that was frozen, or that a busy machine held up, takes itself for dead for a while: it names no brokers and
    gives its groups up.
    """
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            return ask()
        except KafkaError as error:
            if not error.retriable:
                raise
            assert time.monotonic() < deadline_s, f"no connection within {PATIENCE_S} s"
            time.sleep(0.1)


def poll_until(
    source: KafkaSource, enough: Callable[[Sequence[Record]], bool], timeout_s: float = PATIENCE_S
) -> list[Record]:
    """What the source delivers until `enough` says so of all of it; fails after `timeout_s`."""
    records: list[Record] = []
    deadline_s = time.monotonic() + timeout_s
    while not enough(records):
        assert time.monotonic() < deadline_s, f"only {len(records)} records within {timeout_s} s"
        records.extend(source.poll(0.05))
    return records


def read(source: KafkaSource, count: int, timeout_s: float = PATIENCE_S) -> list[Record]:
    """At least `count` records."""
    return poll_until(source, lambda records: len(records) >= count, timeout_s)


@contextmanager
def session_broker(directory: Path) -> Generator[Kafka]:
    """Start one broker, or use the one that the environment names."""
    if given := os.environ.get(BOOTSTRAP):
        with closing(Kafka(given, None)) as kafka:
            yield kafka
        return
    with closing(FrameProxy()) as proxy:
        broker = DevelopmentBroker(
            directory, extra_listeners={PROXIED: "PLAINTEXT"}, advertised={PROXIED: proxy.address}
        )
        proxy.target = broker.address(PROXIED)
        try:
            broker.start(PATIENCE_S)
        except BrokerError as exc:
            pytest.fail(f"no Kafka broker: {exc}", pytrace=False)
        with closing(Kafka(broker.bootstrap, broker, proxy)) as kafka:
            yield kafka
        broker.stop()
