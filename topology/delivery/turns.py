"""The order in which the lines of a partition's window start: the oldest record first, or fair shares of tenants."""

import heapq
from collections.abc import Callable
from typing import Protocol, TypeVar

from topology.contract.records import Record
from topology.contract.tenants import Share
from topology.delivery.fair_shares import FairShares

COST_UNIT_BYTES = 1024
"""A record costs one unit for each KiB that it begins: before a model has read it, its length is all that is known."""

T = TypeVar("T")


class Turns(Protocol[T]):
    """Lines whose first record may start. Key order is the lines' own: only the first record of each is offered."""

    def __bool__(self) -> bool:
        """Return whether anything may start."""
        ...

    def push(self, record: Record, line: T) -> None:
        """Add a line whose first record is `record`."""
        ...

    def pop(self) -> T:
        """Remove the line that starts next and return it."""
        ...


class OldestFirst(Turns[T]):
    """The line with the lowest offset starts first."""

    def __init__(self) -> None:
        self._lines: list[tuple[int, T]] = []

    def __bool__(self) -> bool:
        return bool(self._lines)

    def push(self, record: Record, line: T) -> None:
        """See `Turns.push`."""
        heapq.heappush(self._lines, (record.offset, line))

    def pop(self) -> T:
        """See `Turns.pop`."""
        return heapq.heappop(self._lines)[1]


class FairTurns(Turns[T]):
    """Tenants start in fair shares; `share_of` says which tenant's a record is."""

    def __init__(self, share_of: Callable[[Record], Share]) -> None:
        self._share_of = share_of
        self._shares: FairShares[T] = FairShares()

    def __bool__(self) -> bool:
        return bool(self._shares)

    def push(self, record: Record, line: T) -> None:
        """See `Turns.push`."""
        cost = max(1, -(-len(record.value or b"") // COST_UNIT_BYTES))
        self._shares.push(self._share_of(record), record.offset, cost, line)

    def pop(self) -> T:
        """See `Turns.pop`."""
        return self._shares.pop()
