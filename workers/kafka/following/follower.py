"""A follower: chosen partitions of one topic, read by one consumer on a thread of its own.

It belongs to no group: whoever owns partitions says which ones to follow, and from when.

    index = Index()
    follower = Follower(settings.kafka, settings.topics.stream, index.take, name="streams", metrics=metrics)
    follower.start()
    follower.follow({0: Start(from_ms=1_700_000_000_000), 3: Start()})   # 3 from its beginning
    ...
    follower.follow({3: Start()})    # 0 is gone: nothing of it is delivered any more; 3 goes on where it is
    follower.is_read_to(3, offset)   # whether everything below `offset` of partition 3 was delivered
    follower.has_caught_up(3)        # ... and everything that stood there when its following began
    follower.stop()

`index.take(partition, records)` is called on the follower's thread, in offset order within a partition, and should only
take microseconds: it is called under the follower's lock, so that nothing is delivered of a partition that
`follow` has just let go, and that a partition which comes back begins anew. It must not wait for a thread that calls
the follower. After an error the follower connects anew and goes on where it was: no record is delivered twice. A topic
that was made anew, or lost its end, is read from `Start` again; what stood there by then counts as missing.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from msgspec import Struct, structs

from topology.contract.records import Record
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from workers.kafka.errors import KafkaRefused, KafkaUnavailable
from workers.kafka.following.partition_reader import Begun, PartitionReader
from workers.settings import KafkaSettings

logger = logging.getLogger("sluicegate.follower")

POLL_S: Final = 0.1
"""Longest wait for records, and so for a new choice of partitions to be taken over."""

AGAIN_S: Final = 0.5
"""The wait before the brokers are asked again after an error."""

MISSING_S: Final = 5.0
"""The time after which a partition that the topic does not have is looked for again; the others are read meanwhile."""

STOP_S: Final = 5.0

Deliver = Callable[[int, Sequence[Record]], object]


class Start(Struct, frozen=True):
    """Where the following of a partition begins: at the first record not older than `from_ms`, or at its first one."""

    from_ms: int | None = None


class Reading(Protocol):
    """What a follower needs of its consumer: see `PartitionReader`."""

    def partitions(self) -> frozenset[int]:
        """Return the partitions that the topic has."""
        ...

    def begin(self, partition: int, from_ms: int | None) -> Begun:
        """Look up where a partition begins."""
        ...

    def assign(self, offsets: Mapping[int, int]) -> None:
        """Read these partitions."""
        ...

    def poll(self, timeout_s: float) -> dict[int, list[Record]]:
        """Return what is new."""
        ...

    def close(self) -> None:
        """Release the connections."""
        ...


class _Followed:
    """One partition while it is followed."""

    def __init__(self, start: Start) -> None:
        self.start = start
        self.begun: Begun | None = None
        self.next = 0
        """The next offset to deliver, once it has begun."""
        self.last_ms = -1
        """The append time of what was delivered last; -1: nothing was."""


class Follower:
    """A follower of `topic`. All methods may be called from any thread; `deliver` is called on the follower's own."""

    def __init__(
        self,
        kafka: KafkaSettings,
        topic: str,
        deliver: Deliver,
        *,
        name: str,
        metrics: Instruments | None = None,
        make_reader: Callable[[], Reading] | None = None,
    ) -> None:
        self._topic = topic
        self._deliver = deliver
        self._metrics = metrics or Instruments.none()
        self._make_reader = make_reader or (lambda: PartitionReader(kafka, topic))
        self._lock = threading.RLock()
        self._followed: dict[int, _Followed] = {}
        self._is_changed = False
        self._look_again_s = math.inf
        self._wake = threading.Event()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name=f"follow-{name}", daemon=True)
        self.polled_s = time.monotonic()
        """When the consumer was polled last, or had nothing to follow."""

    def start(self) -> None:
        """Begin. Connects when there is a partition to follow."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, within STOP_S."""
        self._is_stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(STOP_S)

    def follow(self, partitions: Mapping[int, Start]) -> None:
        """Follow these partitions and no others. One that is followed already goes on where it is."""
        with self._lock:
            kept = {number: self._followed.get(number) or _Followed(start) for number, start in partitions.items()}
            self._is_changed = self._is_changed or kept != self._followed
            self._followed = kept
        self._wake.set()

    def follow_anew(self, partition: int, start: Start) -> None:
        """Follow a partition, besides the others, from `start` on, whether it was followed before or not."""
        with self._lock:
            self._followed = {**self._followed, partition: _Followed(start)}
            self._is_changed = True
        self._wake.set()

    def begun(self, partition: int) -> Begun | None:
        """Return where a partition began; None if it is not followed, or nobody knows yet."""
        with self._lock:
            followed = self._followed.get(partition)
            return followed and followed.begun

    def is_read_to(self, partition: int, offset: int) -> bool:
        """Return whether the partition is followed, and everything below `offset` was delivered."""
        with self._lock:
            followed = self._followed.get(partition)
            return followed is not None and followed.begun is not None and followed.next >= offset

    def has_caught_up(self, partition: int) -> bool:
        """Return whether everything was delivered that stood in the partition when its following began."""
        begun = self.begun(partition)
        return begun is not None and self.is_read_to(partition, begun.end)

    def _run(self) -> None:
        while not self._is_stopping:
            try:
                if self._has_any():
                    self._read_until_stopped()
                self.polled_s = time.monotonic()
                self._wake.wait(POLL_S)
                self._wake.clear()
            except (KafkaUnavailable, KafkaRefused) as exc:
                self._metrics.count(Metric.FOLLOW_FAILURES, topic=self._topic)
                logger.warning("not followed, trying again: %s", exc, extra={"topic": self._topic})
                self._wake.wait(AGAIN_S)
            except Exception as exc:  # noqa: BLE001 - a follower that has ended would be missed by nobody
                self._metrics.count(Metric.FOLLOW_FAILURES, topic=self._topic)
                logger.error(  # noqa: TRY400 - a message might quote what was read
                    "following failed, trying again", extra={"topic": self._topic, "error": type(exc).__name__}
                )
                self._wake.wait(AGAIN_S)

    def _read_until_stopped(self) -> None:
        reader = self._make_reader()
        self._is_changed = True  # a new consumer has no partitions
        try:
            while not self._is_stopping and self._has_any():
                followed = self._take_over(reader)
                found = reader.poll(POLL_S)
                self.polled_s = time.monotonic()
                for number, records in found.items():
                    self._hand_over(number, followed.get(number), records)
        finally:
            reader.close()

    def _take_over(self, reader: Reading) -> dict[int, _Followed]:
        """Have the consumer read what is to be followed now, and return that."""
        with self._lock:
            followed, is_changed, self._is_changed = dict(self._followed), self._is_changed, False
        if is_changed or time.monotonic() >= self._look_again_s:
            there = reader.partitions()
            missing = followed.keys() - there
            self._look_again_s = time.monotonic() + MISSING_S if missing else math.inf
            if missing:
                logger.warning(
                    "partitions are missing; create them with `sluicegate topics create`",
                    extra={"topic": self._topic, "partitions": sorted(missing)},
                )
            self._begin(reader, {number: one for number, one in followed.items() if number in there})
        return followed

    def _begin(self, reader: Reading, followed: Mapping[int, _Followed]) -> None:
        for number, one in followed.items():
            if one.begun is None:
                begun = reader.begin(number, one.start.from_ms)
                begun = structs.replace(begun, whole_from_ms=max(begun.whole_from_ms, one.last_ms + 1))
                with self._lock:
                    one.next, one.begun = begun.offset, begun
        reader.assign({number: one.next for number, one in followed.items()})

    def _hand_over(self, number: int, polled: _Followed | None, records: Sequence[Record]) -> None:
        with self._lock:
            now = self._followed.get(number)
            if now is None or now is not polled or not records:
                return  # let go, or to begin anew, since it was polled
            if records[0].offset < now.next:  # the library began again: the log ends before what was delivered
                logger.warning("a log began anew", extra={"topic": self._topic, "partition": number})
                now.begun, self._is_changed = None, True
                return
            now.next, now.last_ms = records[-1].offset + 1, records[-1].timestamp_ms
            self._deliver(number, records)

    def _has_any(self) -> bool:
        with self._lock:
            return bool(self._followed)
