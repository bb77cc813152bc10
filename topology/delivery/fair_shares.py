"""The choice of what runs next when tenants compete: deficit round robin over tenants, within priority classes. Pure.

Each tenant's items wait in a queue, the oldest first. A queue whose turn it is gets credit in proportion to its
tenant's weight, and starts items as long as its credit covers their cost (Shreedhar and Varghese, SIGCOMM 1995). What
is left over is kept while the queue is not empty, so tenants share by cost and not by number of items. The most urgent
class goes first, but a class that waits is passed over at most PASSED_OVER_MAX times in a row.
"""

import heapq
from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from topology.contract.tenants import Priority, Share

PASSED_OVER_MAX = 8
"""The most items of other classes that start while a class waits."""

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Queue(Generic[T]):
    """One tenant's items: a heap by order. `is_credited`: it has the credit of its present turn."""

    weight: int
    credit: int = 0
    is_credited: bool = False
    items: list[tuple[int, int, T]] = field(default_factory=list[tuple[int, int, T]])
    """Order, cost and item."""

    @property
    def next_cost(self) -> int:
        return self.items[0][1]


class _Class(Generic[T]):
    """The tenants of one priority class that have something to start, in the order of their turns."""

    def __init__(self) -> None:
        self._queues: dict[str, _Queue[T]] = {}
        self._turns: deque[str] = deque()
        self.passed_over_count = 0

    def __bool__(self) -> bool:
        return bool(self._turns)

    def push(self, share: Share, order: int, cost: int, item: T) -> None:
        queue = self._queues.get(share.tenant_id)
        if queue is None:
            queue = self._queues[share.tenant_id] = _Queue(share.weight)
            self._turns.append(share.tenant_id)
        queue.weight = share.weight
        heapq.heappush(queue.items, (order, cost, item))

    def pop(self) -> T:
        passed_count = 0
        while True:  # bounded: after one turn of everybody, `_skip_turns` gives the credit that one of them lacks
            tenant_id = self._turns[0]
            queue = self._queues[tenant_id]
            if not queue.is_credited:
                queue.credit += queue.weight
                queue.is_credited = True
            if queue.next_cost <= queue.credit:
                return self._start(tenant_id, queue)
            queue.is_credited = False
            self._turns.rotate(-1)
            passed_count += 1
            if passed_count == len(self._turns):
                self._skip_turns()
                passed_count = 0

    def _start(self, tenant_id: str, queue: _Queue[T]) -> T:
        _, cost, item = heapq.heappop(queue.items)
        queue.credit -= cost
        if not queue.items:
            del self._queues[tenant_id]
            self._turns.popleft()
        return item

    def _skip_turns(self) -> None:
        """Give everybody the credit of the turns in which nobody could have started anything."""
        queues = self._queues.values()
        turns_count = min(-((queue.credit - queue.next_cost) // queue.weight) for queue in queues) - 1
        for queue in queues:
            queue.credit += turns_count * queue.weight


class FairShares(Generic[T]):
    """Items that may start, and the choice among them. Orders are unique; weights and costs are at least 1."""

    def __init__(self) -> None:
        self._classes: dict[Priority, _Class[T]] = {priority: _Class() for priority in Priority}

    def __bool__(self) -> bool:
        return any(self._classes.values())

    def push(self, share: Share, order: int, cost: int, item: T) -> None:
        """Add an item. Of one tenant and class, the item of the lowest order starts first."""
        self._classes[share.priority].push(share, order, cost, item)

    def pop(self) -> T:
        """Remove the item that starts next and return it. Raises IndexError if there is none."""
        waiting = [each for each in self._classes.values() if each]
        if not waiting:
            raise IndexError("nothing may start")
        chosen = max(waiting, key=lambda each: each.passed_over_count)
        if chosen.passed_over_count < PASSED_OVER_MAX:
            chosen = waiting[0]
        for each in waiting:
            each.passed_over_count += 1
        chosen.passed_over_count = 0
        return chosen.pop()
