"""What was read and is not yet committed, of all partitions: who may run, what a transaction takes, what is paused.

Pure state: no I/O, no clock, no threads; calls must not overlap. Results may arrive in any order and are taken in that
order, whole rounds at a time: the outputs of a round and the position that marks their records done are one
transaction. Each window belongs to one ownership and every work item carries that ownership's token: what finishes
under a dead one changes nothing, and nothing is taken but under the membership that was assigned last.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import count

from msgspec import Struct

from topology.contract.errors import UnreadableMap
from topology.contract.records import Ownership, PartitionId, PartitionOffset, Record, Result
from topology.delivery.offset_map import BUDGET_CHARS, INCOMPLETE_MAX, SPAN_MAX, incomplete_max
from topology.delivery.partition_window import Entry, Hold, MapLimits, PartitionStats, PartitionWindow, Token, is_over
from topology.delivery.rounds import Round, Rounds


class TrackerLimits(Struct, frozen=True, kw_only=True):
    """Bounds on what is held, of one partition and of all; reading pauses at each and resumes at half of it.

    One fetch may go beyond `count_max` and `bytes_max`: what was read cannot be refused. `incomplete_max` is lowered
    to what fits `map_chars_max`.
    """

    count_max: int
    bytes_max: int
    incomplete_max: int = INCOMPLETE_MAX
    span_max: int = SPAN_MAX
    map_chars_max: int = BUDGET_CHARS

    def for_map(self) -> MapLimits:
        """Those of one partition. Raises ValueError where no map fits."""
        return MapLimits(
            incomplete_max=min(self.incomplete_max, incomplete_max(self.map_chars_max)),
            span_max=min(self.span_max, SPAN_MAX),
            budget_chars=self.map_chars_max,
        )


class WorkItem(Struct, frozen=True, kw_only=True):
    """A record to be processed now, handed out once under each token."""

    record: Record
    token: Token


class TrackerStats(Struct, frozen=True, kw_only=True):
    """A snapshot. `held_count` counts what is ready too, `held_bytes` results in place of their records."""

    held_count: int
    held_bytes: int
    running_count: int
    ready_count: int
    vanished_count: int
    stopped: tuple[PartitionId, ...]
    partitions: tuple[PartitionStats, ...]


class Tracker:
    """The state of one group member."""

    def __init__(self, limits: TrackerLimits) -> None:
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
        """The membership assigned last; None before the first and after `lost`."""
        return self._ownership

    @property
    def assigned(self) -> frozenset[PartitionId]:
        """The partitions assigned last, whether restored, stopped or in limbo."""
        return self._assigned

    @property
    def held_count(self) -> int:
        """Records between poll and commit."""
        return sum(window.count for window in self._windows.values())

    @property
    def running_count(self) -> int:
        """Items handed out and not finished."""
        return sum(window.running_count for window in self._windows.values())

    @property
    def ready_count(self) -> int:
        """Results that no round has taken."""
        return self._rounds.ready_count

    @property
    def due_count(self) -> int:
        """Those of them that a round may take now: not of partitions in limbo."""
        return self._rounds.due_count

    @property
    def stopped(self) -> frozenset[PartitionId]:
        """Partitions whose committed map is unreadable, until they are assigned again and readable."""
        return frozenset(self._stopped)

    # Ownership

    def assign(self, ownership: Ownership, partitions: Iterable[PartitionId]) -> list[PartitionId]:
        """Take over a new assignment; returns the partitions, sorted, to be restored before anything of them is read.

        Under another member id everything held is dropped (K7, docs/kafka.md). Otherwise the windows of partitions
        that came back stay in limbo until `restore` finds that nobody else committed meanwhile.
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
        """Whether a window goes on, with all that it holds, once its partition is restored at `position`."""
        window = self._windows.get((position.topic, position.partition))
        return window is not None and window.position == position

    def restore(self, position: PartitionOffset) -> int:
        """Own an assigned partition that is committed at `position`; returns the offset to read from.

        A window in limbo goes on, its running items with it, if `position` is what it committed last; one generation
        may have passed unseen in which another member owned the partition, and then it is not. A position that was
        found just before the partition was suspended leaves it so. Raises UnreadableMap, and the partition is stopped:
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
            window = PartitionWindow(position, token, self._map_limits)
        except UnreadableMap:
            self._stopped.add(partition)
            raise
        window.hold = hold
        self._windows[partition] = window
        self._turns.append(window)
        return window.read_next

    def suspend(self, partitions: Iterable[PartitionId]) -> None:
        """Start nothing more of these: they are about to be revoked. What is done can still be taken.

        Not of windows in limbo: somebody else may have committed meanwhile.
        """
        self._suspended = frozenset(partitions)
        for partition in self._suspended:
            window = self._windows.get(partition)
            if window is not None and window.hold is Hold.OWNED:
                window.hold = Hold.SUSPENDED

    def revoke(self, partitions: Iterable[PartitionId]) -> None:
        """Put these in limbo: what runs may finish into them, nothing is started or taken."""
        for partition in partitions:
            if (window := self._windows.get(partition)) is not None:
                window.hold = Hold.LIMBO

    def lost(self) -> None:
        """Drop everything: others own it."""
        self._ownership = None
        self._assigned = self._suspended = frozenset()
        self._stopped.clear()
        for partition in list(self._windows):
            self._drop(partition)

    # Records and work

    def add(self, records: Iterable[Record]) -> int:
        """Hold `records`, each partition's in offset order; returns how many were accepted.

        The others are done already, were delivered before, or are of a partition that is not owned.
        """
        accepted_count = 0
        for record in records:
            window = self._windows.get((record.topic, record.partition))
            if window is not None and window.hold is Hold.OWNED:
                accepted_count += window.add(record)
        return accepted_count

    def next_to_start(self, count_max: int) -> list[WorkItem]:
        """Up to `count_max` records whose turn it is, partition by partition; they are running from now on."""
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
        """Whether the item's result would still be taken; the call that makes it can be cancelled where not."""
        return self._running(item) is not None

    def finish(self, item: WorkItem, result: Result) -> bool:
        """Take the result of `item`. False, changing nothing, where its ownership is over or it has finished before.

        Raises ValueError where the result is another record's.
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
        """What the next transaction commits, at most `count_max` results and `bytes_max`, but at least one.

        None where there is nothing, and where `ownership` is not joined (K5) or not the one assigned last. Results
        stay held until `applied` or `aborted`, which must come before the next round: ValueError.
        """
        if ownership != self._ownership or ownership.generation < 0 or not ownership.member_id:
            return None
        return self._rounds.take(ownership, count_max, bytes_max)

    def applied(self, done: Round) -> None:
        """The round is committed: let go of it. Partitions that changed hands meanwhile are left alone."""
        self._rounds.applied(done)

    def aborted(self, failed: Round) -> None:
        """Nothing of the round is visible: its results come first in the next one, where they are still owned."""
        self._rounds.aborted(failed)

    # Bounds

    def paused(self) -> frozenset[PartitionId]:
        """The partitions that are not to be read now, those that were stopped among them."""
        held_bytes = sum(window.size_bytes for window in self._windows.values())
        self._is_full = is_over(self.held_count, self._limits.count_max, was_over=self._is_full) or is_over(
            held_bytes, self._limits.bytes_max, was_over=self._is_full
        )
        full = {partition for partition, window in self._windows.items() if window.update_fullness()}
        return self._assigned if self._is_full else frozenset(full | self._stopped)

    def unfinished(self) -> Sequence[tuple[str, int, int]]:
        """(topic, partition, offset) of everything held without a result."""
        return [(*partition, offset) for partition, window in self._windows.items() for offset in window.unfinished()]

    def stats(self) -> TrackerStats:
        """A snapshot for metrics."""
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
