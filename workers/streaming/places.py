"""Which partitions this worker owns, as runs of events see it: a generation, and a number for every change.

A run that sees another place than the one under which it opened opens again, also when its partition was given away
and taken back meanwhile.
"""

import threading
from collections.abc import Callable, Collection
from typing import NamedTuple

from topology.contract.records import Ownership, PartitionId, PartitionOffset
from topology.ports import PartitionMemory


class Place(NamedTuple):
    """The ownership of one partition."""

    generation: int
    change: int


class Places(PartitionMemory):
    """The ownership of all partitions.

    `kept` is told of the partitions that are still owned, on the poll thread; `closed` that this worker owns nothing
    any more.
    """

    def __init__(
        self, kept: Callable[[Collection[PartitionId]], object], closed: Callable[[], object] = lambda: None
    ) -> None:
        self._kept = kept
        self._closed = closed
        self._ownership: Callable[[], Ownership | None] = lambda: None
        self._lock = threading.Lock()
        self._change = 0
        self._places: dict[PartitionId, Place] = {}

    def watch(self, ownership: Callable[[], Ownership | None]) -> None:
        """Ask `ownership` for the membership in force whenever the assignment changes."""
        self._ownership = ownership

    def of(self, partition: PartitionId) -> Place | None:
        """Return the ownership of a partition; None if it is not owned."""
        with self._lock:
            return self._places.get(partition)

    def is_restored(self, position: PartitionOffset) -> bool:
        """See `PartitionMemory.is_restored`: nothing waits for a stream before its event asks for it."""
        del position
        return True

    def begin(self, position: PartitionOffset) -> None:
        """See `PartitionMemory.begin`: the records of a stream are those of its log, whatever window asks."""

    def keep(self, partitions: Collection[PartitionId]) -> None:
        """See `PartitionMemory.keep`. Called for every change of ownership."""
        ownership = self._ownership()
        with self._lock:
            self._change += 1
            place = None if ownership is None else Place(ownership.generation, self._change)
            self._places = {} if place is None else dict.fromkeys(partitions, place)
        self._kept(partitions)

    def close(self) -> None:
        """See `PartitionMemory.close`: from now on nothing is owned."""
        with self._lock:
            self._places = {}
        self._closed()
