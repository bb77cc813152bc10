"""What waits for its turn, the earliest deadline first. What can no longer be in time leaves the line. Pure.

Turns of one conversation never meet in a line, since the tracker starts one at a time: their order is kept whatever
order the line has.
"""

import heapq
from collections.abc import Callable
from itertools import count
from typing import Generic, TypeVar

T = TypeVar("T")


class Line(Generic[T]):
    """A line of at most `count_max` entries. `is_gone` tells of an entry for which nobody waits any more."""

    def __init__(self, count_max: int, is_gone: Callable[[T], bool]) -> None:
        self._count_max = count_max
        self._is_gone = is_gone
        self._heap: list[tuple[float, int, T]] = []
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def is_full(self) -> bool:
        """Return whether nothing more may be added."""
        return len(self._heap) >= self._count_max

    def add(self, entry: T, deadline_s: float) -> None:
        """Add an entry; of equal deadlines the first comes first."""
        heapq.heappush(self._heap, (deadline_s, next(self._numbers), entry))

    def first(self) -> T | None:
        """Return the entry whose turn it is, and leave it there; None if nobody waits."""
        while self._heap and self._is_gone(self._heap[0][2]):
            heapq.heappop(self._heap)
        return self._heap[0][2] if self._heap else None

    def take(self) -> T:
        """Remove the entry that `first` returned."""
        return heapq.heappop(self._heap)[2]

    def take_late(self, ready_s: float) -> list[T]:
        """Remove the entries whose deadline is before `ready_s`, when one that begins now would be done."""
        late: list[T] = []
        while self._heap and self._heap[0][0] < ready_s:
            entry = heapq.heappop(self._heap)[2]
            if not self._is_gone(entry):
                late.append(entry)
        return late

    def clear(self) -> list[T]:
        """Remove and return everything."""
        entries = [entry for _, _, entry in self._heap if not self._is_gone(entry)]
        self._heap.clear()
        return entries
