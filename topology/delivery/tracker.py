"""The tracker of records that were read and are not yet committed: it decides what runs, what commits, what pauses.

Pure state: no I/O, no clock, no threads; calls must not overlap. Results may arrive in any order and are taken in that
order, whole rounds at a time: the outputs of a round and the position that marks their records done are one
transaction. Each window belongs to one ownership, and every work item carries that ownership's token: an item that
finishes under an ended ownership changes nothing, and rounds are taken only under the membership assigned last.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import count

from msgspec import Struct

from topology.contract.errors import UnreadableMap
from topology.contract.records import Ownership, PartitionId, PartitionOffset, Record, Result
from topology.delivery.offset_map import BUDGET_CHARS, INCOMPLETE_MAX, SPAN_MAX, incomplete_max
from topology.delivery.partition_window import (
    Entry,
    Hold,
    Line,
    MapLimits,
    PartitionStats,
    PartitionWindow,
    Token,
    is_over,
)
from topology.delivery.rounds import Round, Rounds
from topology.delivery.turns import OldestFirst, Turns


class TrackerLimits(Struct, frozen=True, kw_only=True):
    """The bounds on held records, for one partition and for all; reading pauses at each and resumes at half of it.

    One fetch may exceed `count_max` and `bytes_max`, because records that were read cannot be refused.
    `incomplete_max` is lowered to what fits `map_chars_max`.
    """

    count_max: int
    bytes_max: int
    incomplete_max: int = INCOMPLETE_MAX
    span_max: int = SPAN_MAX
    map_chars_max: int = BUDGET_CHARS

    def for_map(self) -> MapLimits:
        """Return the bounds of one partition's map. Raises ValueError if no map fits."""
        return MapLimits(
            incomplete_max=min(self.incomplete_max, incomplete_max(self.map_chars_max)),
            span_max=min(self.span_max, SPAN_MAX),
            budget_chars=self.map_chars_max,
        )


class WorkItem(Struct, frozen=True, kw_only=True):
    """A record to process now, handed out once under each token."""

    record: Record
    token: Token


class TrackerStats(Struct, frozen=True, kw_only=True):
    """A snapshot. `held_count` includes ready results; `held_bytes` counts results in place of their records."""

    held_count: int
    held_bytes: int
    running_count: int
    ready_count: int
    vanished_count: int
    stopped: tuple[PartitionId, ...]
    partitions: tuple[PartitionStats, ...]


class Tracker:
    """The tracker of one group member. `turns` makes the order in which the records of one window start."""

    def __init__(self, limits: TrackerLimits, turns: Callable[[], Turns[Line]] = OldestFirst[Line]) -> None:
        self._make_turns = turns
        self._limits = limits
        self._map_limits = limits.for_map()
        self._ownership: Ownership | None = None
        self._assigned: frozenset[PartitionId] = frozenset()
        self._suspended: frozenset[PartitionId] = frozenset()
        self._stopped: set[PartitionId] = set()
        self._windows: dict[PartitionId, PartitionWindow] = {}
        self._turns: deque[PartitionWindow] = deque()
        self._rounds = Rounds(self._windows)
        self._numbers = count(1)
        self._is_full = False

    @property
    def ownership(self) -> Ownership | None:
        """Return the membership assigned last; None before the first one and after `lost`."""
        return self._ownership

    @property
    def assigned(self) -> frozenset[PartitionId]:
        """Return the partitions assigned last, whether restored, stopped or in limbo."""
        return self._assigned

    @property
    def held_count(self) -> int:
        """Return the number of records between poll and commit."""
        return sum(window.count for window in self._windows.values())

    @property
    def running_count(self) -> int:
        """Return the number of items handed out and not finished."""
        return sum(window.running_count for window in self._windows.values())

    @property
    def ready_count(self) -> int:
        """Return the number of results that no round has taken."""
        return self._rounds.ready_count

    @property
    def due_count(self) -> int:
        """Return the number of results that a round may take now; partitions in limbo do not count."""
        return self._rounds.due_count

    @property
    def is_all_due(self) -> bool:
        """Return whether there are results to commit and nothing else is held: a round would not grow by waiting."""
        due_count = self._rounds.due_count
        return bool(due_count) and due_count == self.held_count

    @property
    def stopped(self) -> frozenset[PartitionId]:
        """Return the partitions whose committed map is unreadable, until they are assigned again and readable."""
        return frozenset(self._stopped)

    # Ownership

    def assign(self, ownership: Ownership, partitions: Iterable[PartitionId]) -> list[PartitionId]:
        """Take over an assignment; return its partitions, sorted, each of which must be restored before it is read.

        Under another member id everything held is dropped (K7, docs/kafka.md). Otherwise the windows of partitions
        that came back stay in limbo until `restore` finds that nobody else has committed meanwhile.
        """
        is_same_member = self._ownership is not None and self._ownership.member_id == ownership.member_id
        self._ownership = ownership
        self._assigned = frozenset(partitions)
        self._suspended = frozenset()
        self._stopped &= self._assigned
        for partition in list(self._windows):
            if is_same_member and partition in self._assigned:
                self._windows[partition].hold = Hold.LIMBO
            else:
                self._drop(partition)
        return sorted(self._assigned)

    def continues(self, position: PartitionOffset) -> bool:
        """Return whether the window keeps all that it holds once its partition is restored at `position`."""
        window = self._windows.get((position.topic, position.partition))
        return window is not None and window.position == position

    def restore(self, position: PartitionOffset) -> int:
        """Own an assigned partition that is committed at `position`; return the offset to read from.

        A window in limbo continues, with its running items, if `position` is the one it committed last. The two differ
        if another member owned the partition for a generation that this member did not see. A partition that was
        suspended while its position was looked up stays suspended. Raises UnreadableMap and stops the partition:
        nothing of it is accepted until it is assigned again and readable.
        """
        partition = (position.topic, position.partition)
        if self._ownership is None or partition not in self._assigned:
            raise ValueError(f"{partition} is not assigned")
        hold = Hold.SUSPENDED if partition in self._suspended else Hold.OWNED
        window = self._windows.get(partition)
        if window is not None and window.position == position:
            window.hold = hold
            return window.read_next
        self._drop(partition)
        self._stopped.discard(partition)
        token = Token(self._ownership.member_id, next(self._numbers))
        try:
            window = PartitionWindow(position, token, self._map_limits, self._make_turns())
        except UnreadableMap:
            self._stopped.add(partition)
            raise
        window.hold = hold
        self._windows[partition] = window
        self._turns.append(window)
        return window.read_next

    def suspend(self, partitions: Iterable[PartitionId]) -> None:
        """Start no more records of these partitions, which are about to be revoked; finished ones can still be taken.

        Windows in limbo are left alone, because another member may have committed meanwhile.
        """
        self._suspended = frozenset(partitions)
        for partition in self._suspended:
            window = self._windows.get(partition)
            if window is not None and window.hold is Hold.OWNED:
                window.hold = Hold.SUSPENDED

    def revoke(self, partitions: Iterable[PartitionId]) -> None:
        """Put these partitions in limbo: running records may finish into them, nothing is started or taken."""
        for partition in partitions:
            if (window := self._windows.get(partition)) is not None:
                window.hold = Hold.LIMBO

    def lost(self) -> None:
        """Drop everything, because other members own it."""
        self._ownership = None
        self._assigned = self._suspended = frozenset()
        self._stopped.clear()
        for partition in list(self._windows):
            self._drop(partition)

    # Records and work

    def add(self, records: Iterable[Record]) -> int:
        """Hold `records`, each partition's in offset order; return how many were accepted.

        The others are done already, were delivered before, or belong to a partition that is not owned.
        """
        accepted_count = 0
        for record in records:
            window = self._windows.get((record.topic, record.partition))
            if window is not None and window.hold is Hold.OWNED:
                accepted_count += window.add(record)
        return accepted_count

    def next_to_start(self, count_max: int) -> list[WorkItem]:
        """Start up to `count_max` records whose turn it is, partition by partition, and return them."""
        items: list[WorkItem] = []
        idle_count = 0
        while len(items) < count_max and idle_count < len(self._turns):
            window = self._turns[0]
            self._turns.rotate(-1)
            record = window.start()
            if record is None:
                idle_count += 1
                continue
            idle_count = 0
            items.append(WorkItem(record=record, token=window.token))
        return items

    def is_live(self, item: WorkItem) -> bool:
        """Return whether the item's result would still be taken; if not, the call that makes it can be cancelled."""
        return self._running(item) is not None

    def finish(self, item: WorkItem, result: Result) -> bool:
        """Take the result of `item`; return False, changing nothing, if its ownership has ended or it finished before.

        Raises ValueError if the result belongs to another record.
        """
        record = item.record
        if (result.topic, result.partition, result.offset) != (record.topic, record.partition, record.offset):
            raise ValueError(f"a result of {result.offset} for offset {record.offset}")
        entry = self._running(item)
        if entry is None:
            return False
        entry.window.finish(entry, result)
        self._rounds.add(entry)
        return True

    # Rounds

    def take(self, ownership: Ownership, count_max: int, bytes_max: int) -> Round | None:
        """Take the results of the next transaction: at most `count_max` and `bytes_max`, but at least one.

        Returns None if nothing is ready, or if `ownership` is not joined (K5) or not the one assigned last. Results
        stay held until `applied` or `aborted`; taking another round before that raises ValueError.
        """
        if ownership != self._ownership or ownership.generation < 0 or not ownership.member_id:
            return None
        return self._rounds.take(ownership, count_max, bytes_max)

    def applied(self, done: Round) -> None:
        """Let go of a committed round. Partitions that changed hands meanwhile are left alone."""
        self._rounds.applied(done)

    def aborted(self, failed: Round) -> None:
        """Put an aborted round back: its results come first in the next one, if they are still owned."""
        self._rounds.aborted(failed)

    def replace(self, result: Result, make: Callable[[Record], Result]) -> None:
        """Replace a result that no round has taken by what `make` makes of its record, if it is still held."""
        window = self._windows.get((result.topic, result.partition))
        if window is not None:
            window.replace(result.offset, make)

    # Bounds

    def paused(self, count_max: int | None = None, away_count: int = 0) -> frozenset[PartitionId]:
        """Return the partitions that must not be read now, including the stopped ones.

        `count_max` is a bound on held records for now, not counting the `away_count` that wait for a model; None: there
        is none but that of the limits, which counts all.
        """
        count_max = self._limits.count_max if count_max is None else count_max
        held_bytes = sum(window.size_bytes for window in self._windows.values())
        self._is_full = (
            is_over(max(0, self.held_count - away_count), count_max, was_over=self._is_full)
            or is_over(self.held_count, self._limits.count_max, was_over=self._is_full)
            or is_over(held_bytes, self._limits.bytes_max, was_over=self._is_full)
        )
        full = {partition for partition, window in self._windows.items() if window.update_fullness()}
        return self._assigned if self._is_full else frozenset(full | self._stopped)

    def is_unfinished(self, partition: PartitionId, offset: int) -> bool:
        """Return whether the record has no result yet; true as well while nothing is known of its partition."""
        window = self._windows.get(partition)
        return window is None or window.is_unfinished(offset)

    def unfinished(self) -> Sequence[tuple[str, int, int]]:
        """Return (topic, partition, offset) of every record held without a result."""
        return [(*partition, offset) for partition, window in self._windows.items() for offset in window.unfinished()]

    def stats(self) -> TrackerStats:
        """Return a snapshot for metrics."""
        windows = self._windows.values()
        return TrackerStats(
            held_count=self.held_count,
            held_bytes=sum(window.size_bytes for window in windows),
            running_count=self.running_count,
            ready_count=self.ready_count,
            vanished_count=sum(window.vanished_count for window in windows),
            stopped=tuple(sorted(self._stopped)),
            partitions=tuple(window.stats() for window in windows),
        )

    def _drop(self, partition: PartitionId) -> None:
        window = self._windows.pop(partition, None)
        if window is None:
            return
        self._turns.remove(window)
        self._rounds.drop(window)

    def _running(self, item: WorkItem) -> Entry | None:
        window = self._windows.get((item.record.topic, item.record.partition))
        if window is None or window.token != item.token:
            return None
        return window.running(item.record.offset)
