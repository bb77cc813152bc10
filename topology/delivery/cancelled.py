"""The records whose answers nobody waits for any more, as far as they are known here. Pure state, for one thread."""

from collections.abc import Collection, Iterable, Iterator

from topology.contract.records import PartitionId

Cancelled = tuple[PartitionId, int, str]
"""Partition and offset of a record, and the id of the event that it must hold."""


class CancelledRecords:
    """At most `count_max` records; the oldest are dropped first, and are then answered like any other."""

    def __init__(self, count_max: int) -> None:
        self._count_max = count_max
        self._known: dict[Cancelled, None] = {}

    def __len__(self) -> int:
        return len(self._known)

    def __iter__(self) -> Iterator[Cancelled]:
        return iter(self._known)

    def __contains__(self, cancelled: Cancelled) -> bool:
        return cancelled in self._known

    def add(self, cancelled: Cancelled) -> int:
        """Take a record in; return how many others were dropped for it."""
        self._known[cancelled] = None
        dropped_count = max(0, len(self._known) - self._count_max)
        for oldest in list(self._known)[:dropped_count]:
            del self._known[oldest]
        return dropped_count

    def keep(self, partitions: Collection[PartitionId]) -> None:
        """Forget the records of every partition but these."""
        self.forget([each for each in self._known if each[0] not in partitions])

    def forget(self, cancelled: Iterable[Cancelled]) -> None:
        """Forget these records, those of them that are known."""
        for each in cancelled:
            self._known.pop(each, None)
