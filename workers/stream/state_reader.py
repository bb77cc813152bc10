"""The reader of one partition of the state topic, committed states only. All calls are on one thread.

It reads up to what had been written when it was asked, not up to what had been committed by then: a predecessor's
transaction may count in its group's offsets before its markers have reached this topic, and waiting for its end shows
whether it was committed. Nobody else writes that partition, so nothing delays the reading for longer than such a
transaction may last.
"""

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

from kafka import KafkaConsumer
from kafka.errors import KafkaError
from kafka.structs import TopicPartition

from topology.contract.records import Record
from workers.kafka.client import connect, consumer_options
from workers.kafka.errors import DETAIL_CHARACTERS_MAX, KafkaRefused, KafkaUnavailable, StatesUnreadable
from workers.kafka.reader import as_record
from workers.settings import KafkaSettings

logger = logging.getLogger("sluicegate.states")

POLL_S = 0.1
PROGRESS_S = 5.0
"""Time between two log lines about a long restore."""


class StateReader:
    """A reader of `topic`, with `timeout_s` for each partition. It connects when it is first asked."""

    def __init__(
        self,
        kafka: KafkaSettings,
        topic: str,
        timeout_s: float,
        *,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kafka = kafka
        self._topic = topic
        self._timeout_s = timeout_s
        self._monotonic_s = monotonic_s
        self._committed: Any = None
        self._written: Any = None
        """A consumer that sees what is not committed yet. It is asked for end offsets only."""

    def read(self, partition: int) -> Iterator[Record]:
        """Yield the states of a partition, oldest first. Raises StatesUnreadable; the next call then connects anew."""
        deadline_s = self._monotonic_s() + self._timeout_s
        try:
            self._connect()
            yield from self._read(TopicPartition(self._topic, partition), deadline_s)
        except (KafkaError, KafkaRefused, KafkaUnavailable) as exc:
            self.close()
            raise StatesUnreadable(f"{type(exc).__name__}: {exc}"[:DETAIL_CHARACTERS_MAX]) from exc

    def close(self) -> None:
        """Release the connections."""
        for consumer in (self._committed, self._written):
            if consumer is not None:
                consumer.close()
        self._committed = self._written = None

    def _connect(self) -> None:
        options = consumer_options(self._kafka)
        if self._committed is None:
            self._committed = connect("states", lambda: KafkaConsumer(**options), self._timeout_s)
        if self._written is None:
            options.update(isolation_level="read_uncommitted")
            self._written = connect("states", lambda: KafkaConsumer(**options), self._timeout_s)

    def _read(self, partition: TopicPartition, deadline_s: float) -> Iterator[Record]:
        consumer = self._committed
        count = len(consumer.partitions_for_topic(self._topic) or ())
        if partition.partition >= count:
            raise StatesUnreadable(
                f"{self._topic} has {count} partitions and must have as many as the input, whose partition "
                f"{partition.partition} has no states there; create the missing ones with `sluicegate topics create`"
            )
        left_ms = max(1, int((deadline_s - self._monotonic_s()) * 1000))
        end: int = self._written.end_offsets([partition], timeout_ms=left_ms)[partition]
        consumer.assign([partition])
        consumer.seek_to_beginning(partition)
        read_count, said_s = 0, self._monotonic_s()
        while (consumer.position(partition, timeout_ms=left_ms) or 0) < end:
            now_s = self._monotonic_s()
            if now_s >= deadline_s:
                raise StatesUnreadable(f"not read up to offset {end} within {self._timeout_s:g} s")
            if now_s - said_s >= PROGRESS_S:
                said_s = now_s
                about = {"topic": self._topic, "partition": partition.partition, "end": end, "count": read_count}
                logger.info("reading conversation states", extra=about)
            for message in consumer.poll(timeout_ms=int(POLL_S * 1000)).get(partition, ()):
                read_count += 1
                yield as_record(message)
