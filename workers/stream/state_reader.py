"""The reader of one partition of the state topic, committed states only. All calls are on one thread.

It reads to the log-end offset, not to the last stable offset: a predecessor's transaction may count in its group's
offsets before its commit marker has reached this topic, and only reading past that transaction shows whether it was
committed. Nobody else writes the partition, so nothing delays the reading for longer than such a transaction may last.
"""

import logging
import time
from collections.abc import Callable, Iterator

from msgspec.structs import replace

from topology.contract.records import Record
from workers.kafka.errors import DETAIL_CHARACTERS_MAX, KafkaRefused, KafkaUnavailable, StatesUnreadable
from workers.kafka.reader import RangeReader, ReadingStalled
from workers.settings import KafkaSettings

logger = logging.getLogger("sluicegate.states")

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
        self._kafka = replace(kafka, connect_timeout_s=timeout_s)
        self._topic = topic
        self._timeout_s = timeout_s
        self._monotonic_s = monotonic_s
        self._committed: RangeReader | None = None
        self._written: RangeReader | None = None
        """A reader that also sees records not committed yet; it is asked for log-end offsets only."""

    def read(self, partition: int) -> Iterator[Record]:
        """Yield the states of a partition, oldest first. Raises StatesUnreadable; the next call then connects anew."""
        deadline_s = self._monotonic_s() + self._timeout_s
        try:
            yield from self._read(partition, deadline_s)
        except (KafkaRefused, KafkaUnavailable, ReadingStalled) as exc:
            self.close()
            raise StatesUnreadable(f"{type(exc).__name__}: {exc}"[:DETAIL_CHARACTERS_MAX]) from exc

    def partition_count(self) -> int:
        """Return the number of the topic's partitions. Raises StatesUnreadable; the next call then connects anew."""
        try:
            self._committed = self._committed or RangeReader(self._kafka, self._topic)
        except (KafkaRefused, KafkaUnavailable) as exc:
            self.close()
            raise StatesUnreadable(f"{type(exc).__name__}: {exc}"[:DETAIL_CHARACTERS_MAX]) from exc
        return len(self._committed.partitions)

    def close(self) -> None:
        """Release the connections."""
        for reader in (self._committed, self._written):
            if reader is not None:
                reader.close()
        self._committed = self._written = None

    def _read(self, partition: int, deadline_s: float) -> Iterator[Record]:
        committed = self._committed = self._committed or RangeReader(self._kafka, self._topic)
        written = self._written = self._written or RangeReader(self._kafka, self._topic, isolation="read_uncommitted")
        if partition not in committed.partitions:
            self.close()  # the next call asks the brokers again
            raise StatesUnreadable(
                f"{self._topic} has {len(committed.partitions)} partitions and must have as many as the input, whose "
                f"partition {partition} has no states there; create the missing ones with `sluicegate topics create`"
            )
        span = written.bounds([partition])[partition]
        read_count, said_s = 0, self._monotonic_s()
        for records in committed.read({partition: span}, stall_s=self._timeout_s):
            yield from records
            read_count += len(records)
            now_s = self._monotonic_s()
            if now_s >= deadline_s:
                raise StatesUnreadable(f"not read up to offset {span.end} within {self._timeout_s:g} s")
            if now_s - said_s >= PROGRESS_S:
                said_s = now_s
                about = {"topic": self._topic, "partition": partition, "end": span.end, "count": read_count}
                logger.info("reading conversation states", extra=about)
