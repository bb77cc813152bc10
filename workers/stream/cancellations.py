"""What doors write when a client has gone: read for the partitions that are owned, and applied to records that run.

The topic is read from its beginning when a partition is taken over. Nothing waits for it: a record that has begun by
then ends early all the same. While it cannot be read, events are answered although nobody waits.
"""

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from topology.contract.lineage import Cancellation
from topology.contract.records import PartitionId, PartitionOffset, Record
from topology.delivery.cancelled import CancelledRecords
from topology.ports import PartitionMemory
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from workers.kafka.following.follower import Deliver, Follower, Start
from workers.kafka.reader import ValueDecoder
from workers.settings import Settings

PRUNE_S: Final = 1.0
STOP_TIMEOUT_S: Final = 5.0

IsUnfinished = Callable[[PartitionId, int], bool]
"""A function that says whether the record at an offset has no result yet."""


class Following(Protocol):
    """What follows the topic: see `Follower`."""

    def start(self) -> None:
        """Begin."""
        ...

    def follow(self, partitions: Mapping[int, Start]) -> None:
        """Follow these partitions and no others."""
        ...

    def stop(self) -> None:
        """End, in bounded time."""
        ...


Follow = Callable[[Deliver], Following]
"""A function that makes what follows the topic."""

_cancellation = ValueDecoder(Cancellation)


class _Watch(NamedTuple):
    event_id: str
    leave: Callable[[], None]


class Cancellations(PartitionMemory):
    """The Departures of one worker. `events` is the topic whose records are cancelled.

    At most `count_max` cancellations are kept, each until its record is finished.
    """

    def __init__(self, follow: Follow, events: str, count_max: int, metrics: Instruments) -> None:
        self._events = events
        self._metrics = metrics
        self._lock = threading.Lock()
        self._known = CancelledRecords(count_max)
        self._watches: dict[tuple[PartitionId, int], _Watch] = {}
        self._is_unfinished: IsUnfinished = lambda _partition, _offset: True
        self._follower = follow(self.take)
        self._ended = threading.Event()
        self._pruning = threading.Thread(target=self._prune_until_stopped, name="cancellations", daemon=True)

    def start(self, is_unfinished: IsUnfinished) -> None:
        """Begin to follow the partitions that are owned. `is_unfinished` is asked on a thread of its own."""
        self._is_unfinished = is_unfinished
        self._follower.start()
        self._pruning.start()

    def watch(self, record: Record, event_id: str, leave: Callable[[], None]) -> Callable[[], None]:
        """See `Departures.watch`."""
        partition = (record.topic, record.partition)
        place, watch = (partition, record.offset), _Watch(event_id, leave)

        def unwatch() -> None:
            with self._lock:
                if self._watches.get(place) is watch:
                    del self._watches[place]

        with self._lock:
            self._watches[place] = watch
            is_gone = (partition, record.offset, event_id) in self._known
        if is_gone:
            leave()
        return unwatch

    def is_restored(self, position: PartitionOffset) -> bool:
        """See `PartitionMemory.is_restored`: nothing waits for this topic."""
        del position
        return True

    def begin(self, position: PartitionOffset) -> None:
        """See `PartitionMemory.begin`: a partition is followed from the moment at which it is assigned."""

    def keep(self, partitions: Collection[PartitionId]) -> None:
        """See `PartitionMemory.keep`; those that are new are followed from their beginning."""
        self._follower.follow({number: Start() for _, number in partitions})
        with self._lock:
            self._known.keep(partitions)

    def close(self) -> None:
        """See `PartitionMemory.close`. Waits for its threads, each in bounded time."""
        self._ended.set()
        self._follower.stop()
        if self._pruning.is_alive():
            self._pruning.join(STOP_TIMEOUT_S)

    def take(self, number: int, read: Sequence[Record]) -> None:
        """Take in what doors have written, and tell those who wait for a model of it. Waits for nothing."""
        partition = (self._events, number)
        leaving: list[Callable[[], None]] = []
        for record in read:
            found = _cancellation(record)
            if found is None or found.partition != number:
                self._metrics.count(Metric.CANCELLATIONS, outcome="unreadable")
                continue
            with self._lock:
                dropped_count = self._known.add((partition, found.offset, found.event_id))
                watch = self._watches.get((partition, found.offset))
            self._metrics.count(Metric.CANCELLATIONS, outcome="taken")
            self._metrics.count(Metric.CANCELLATIONS, dropped_count, outcome="dropped")
            if watch is not None and watch.event_id == found.event_id:
                leaving.append(watch.leave)
        for leave in leaving:
            leave()

    def prune(self) -> None:
        """Forget the records that are finished."""
        with self._lock:
            known = list(self._known)
        # Without the lock: whoever answers may hold one of its own while it waits for this one.
        finished = [each for each in known if not self._is_unfinished(each[0], each[1])]
        with self._lock:
            self._known.forget(finished)
            count = len(self._known)
        self._metrics.gauge_set(Metric.CANCELLATIONS_KNOWN, count)

    def _prune_until_stopped(self) -> None:
        while not self._ended.wait(PRUNE_S):
            self.prune()


def open_cancellations(settings: Settings, metrics: Instruments) -> Cancellations | None:
    """Return what is known of clients that have gone; None if settings switch it off."""
    if not settings.limits.cancellations_max:
        return None
    kafka, topics = settings.kafka, settings.topics

    def follow(deliver: Deliver) -> Follower:
        return Follower(kafka, topics.cancel, deliver, name="cancellations", metrics=metrics)

    return Cancellations(follow, topics.events, settings.limits.cancellations_max, metrics)
