"""What is kept of a partition while it is owned, and read back from a compacted topic when it is taken over.

A partition is read on a thread of its own while the poll thread stays in the group. Nothing of the partition is
delivered until that has been done. A failed read is counted, logged and tried again, and the partition stays
undelivered.
"""

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Sequence
from typing import Generic, Protocol, TypeVar

from topology.contract.records import PartitionId, PartitionOffset, Record
from topology.ports import Clock, PartitionMemory
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from workers.kafka.errors import StatesUnreadable

logger = logging.getLogger("sluicegate.states")

TURN_S = 1.0
"""Time between two updates of the gauges, and before a failed read is tried again."""

STOP_TIMEOUT_S = 5.0

Held = TypeVar("Held")


class StateSource(Protocol):
    """A place that states are read from. All calls are on one thread."""

    def read(self, partition: int) -> Iterable[Record]:
        """Return all committed states of a partition number, oldest first. Raises StatesUnreadable."""
        ...

    def close(self) -> None:
        """Release what it holds."""
        ...


class Restoring(PartitionMemory, ABC, Generic[Held]):
    """The PartitionMemory of what `topic` holds, by partition. `source` is read on a thread of its own.

    `name` says in the log what is read.
    """

    def __init__(self, topic: str, source: StateSource, *, name: str, clock: Clock, metrics: Instruments) -> None:
        self._topic = topic
        self._source = source
        self._name = name
        self._clock = clock
        self._metrics = metrics
        self._lock = threading.Lock()
        self._owned: dict[PartitionId, Held] = {}
        self._wanted: dict[PartitionId, PartitionOffset] = {}
        self._restored: dict[PartitionId, tuple[PartitionOffset, Held]] = {}
        self._wake = threading.Event()
        self._is_stopping = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    @abstractmethod
    def _empty(self, partition: PartitionId) -> Held:
        """Return what a partition without records begins with. Raises StatesUnreadable."""

    @abstractmethod
    def _take(self, held: Held, record: Record) -> None:
        """Add a record that was read. Raises StatesUnreadable."""

    @abstractmethod
    def _show(self, owned: Sequence[Held], pending_count: int) -> None:
        """Set the gauges."""

    def is_restored(self, position: PartitionOffset) -> bool:
        """See `PartitionMemory.is_restored`. Raises what ended the thread that reads."""
        if self._error is not None:
            raise self._error
        partition = (position.topic, position.partition)
        with self._lock:
            found = self._restored.get(partition)
            if found is not None and found[0] == position:
                return True
            # Another member may have committed since an older position was read, and written records with it.
            is_new = self._wanted.get(partition) != position
            self._wanted[partition] = position
        if is_new:
            self._wake.set()
        return False

    def begin(self, position: PartitionOffset) -> None:
        """See `PartitionMemory.begin`."""
        partition = (position.topic, position.partition)
        with self._lock:
            found_at, held = self._restored.pop(partition, (None, None))
            if held is None or found_at != position:
                raise RuntimeError(f"{self._name} of partition {position.partition} at {position.offset} were not read")
            self._owned[partition] = held
            self._wanted.pop(partition, None)

    def keep(self, partitions: Collection[PartitionId]) -> None:
        """See `PartitionMemory.keep`."""
        with self._lock:
            for held in (self._owned, self._wanted, self._restored):
                for partition in held.keys() - set(partitions):
                    del held[partition]

    def close(self) -> None:
        """See `PartitionMemory.close`. Waits at most STOP_TIMEOUT_S for the thread."""
        self._is_stopping = True
        self._wake.set()
        self._thread.join(STOP_TIMEOUT_S)

    def _serve(self) -> None:
        try:
            while not self._is_stopping:
                self._wake.wait(TURN_S)
                self._wake.clear()
                for position in self._pending():
                    self._restore(position)
                with self._lock:
                    owned = list(self._owned.values())
                self._show(owned, len(self._pending()))
        except BaseException as exc:  # noqa: BLE001 - handed to the thread that calls `is_restored`
            self._error = exc
        finally:
            self._source.close()

    def _pending(self) -> list[PartitionOffset]:
        with self._lock:
            found = {partition: position for partition, (position, _) in self._restored.items()}
            return [position for partition, position in self._wanted.items() if found.get(partition) != position]

    def _restore(self, position: PartitionOffset) -> None:
        """Read one partition, and keep the result if it is still wanted. A failed read is left for the next turn."""
        if self._is_stopping:
            return
        partition = (position.topic, position.partition)
        started_s, about = self._clock.monotonic_s(), {"topic": self._topic, "partition": position.partition}
        try:
            held = self._empty(partition)
            for record in self._source.read(position.partition):
                self._take(held, record)
        except StatesUnreadable as exc:
            self._metrics.count(Metric.STATE_RESTORE_FAILURES)
            logger.error(  # noqa: TRY400 - the traceback adds nothing to the reason
                "partition not delivered: its %s could not be read",
                self._name,
                extra={**about, "reason": exc.reason},
            )
            return
        with self._lock:
            if self._wanted.get(partition) == position:
                self._restored[partition] = position, held
        took_s = round(self._clock.monotonic_s() - started_s, 3)
        logger.info("%s read", self._name, extra={**about, "seconds": took_s})


class Together(PartitionMemory):
    """Several memories of the same partitions as one: a partition begins when all of them are restored."""

    def __init__(self, memories: Sequence[PartitionMemory]) -> None:
        self._memories = memories

    def is_restored(self, position: PartitionOffset) -> bool:
        """See `PartitionMemory.is_restored`."""
        pending = [memory for memory in self._memories if not memory.is_restored(position)]  # each begins to read
        return not pending

    def begin(self, position: PartitionOffset) -> None:
        """See `PartitionMemory.begin`."""
        for memory in self._memories:
            memory.begin(position)

    def keep(self, partitions: Collection[PartitionId]) -> None:
        """See `PartitionMemory.keep`."""
        for memory in self._memories:
            memory.keep(partitions)

    def close(self) -> None:
        """See `PartitionMemory.close`."""
        for memory in self._memories:
            memory.close()
