"""Results that wait for their transaction, in order of completion, and the round that is being committed now.

Pure state of the tracker. A result stays held until its round is applied; one that is aborted comes first in the next.
"""

from collections import deque
from collections.abc import Mapping

from msgspec import Struct

from topology.contract.records import OutRecord, Ownership, PartitionId, PartitionOffset, Result
from topology.delivery.partition_window import Entry, Hold, PartitionWindow, Stage, Token


class Round(Struct, frozen=True, kw_only=True):
    """What one transaction makes visible: results in order of completion, and where each partition then stands."""

    ownership: Ownership
    results: tuple[Result, ...]
    offsets: tuple[PartitionOffset, ...]
    tokens: tuple[Token, ...]
    """Of each of `offsets`."""

    @property
    def count(self) -> int:
        """How many input records it answers."""
        return len(self.results)

    @property
    def records(self) -> list[OutRecord]:
        """Everything to be written."""
        return [record for result in self.results for record in result.records]


class Rounds:
    """Of the tracker whose `windows` these are."""

    def __init__(self, windows: Mapping[PartitionId, PartitionWindow]) -> None:
        self._windows = windows
        self._ready: deque[Entry] = deque()
        self._taken: list[Entry] = []
        self._round: Round | None = None

    @property
    def ready_count(self) -> int:
        """As `Tracker.ready_count`."""
        return len(self._ready)

    @property
    def due_count(self) -> int:
        """As `Tracker.due_count`."""
        is_any_held_back = any(window.hold is Hold.LIMBO for window in self._windows.values())
        return sum(e.window.hold is not Hold.LIMBO for e in self._ready) if is_any_held_back else len(self._ready)

    def add(self, entry: Entry) -> None:
        """A record that has its result."""
        self._ready.append(entry)

    def drop(self, window: PartitionWindow) -> None:
        """Forget the results of a window that is owned no more."""
        self._ready = deque(entry for entry in self._ready if entry.window is not window)

    def take(self, ownership: Ownership, count_max: int, bytes_max: int) -> Round | None:
        """As `Tracker.take`, of whoever has the right to."""
        if self._round is not None:
            raise ValueError("a round is under way")
        self._taken = self._take_ready(count_max, bytes_max)
        moved = [window for window in self._windows.values() if self._is_moved(window)]
        if not moved:
            return None
        self._round = Round(
            ownership=ownership,
            results=tuple(entry.result for entry in self._taken if entry.result is not None),
            offsets=tuple(window.position_with_round() for window in moved),
            tokens=tuple(window.token for window in moved),
        )
        return self._round

    def applied(self, done: Round) -> None:
        """As `Tracker.applied`."""
        self._end(done)
        for entry in self._taken:
            entry.window.release(entry)
        for position, token in zip(done.offsets, done.tokens, strict=True):
            window = self._windows.get((position.topic, position.partition))
            if window is not None and window.token == token:
                window.apply(position)
        self._taken = []

    def aborted(self, failed: Round) -> None:
        """As `Tracker.aborted`."""
        self._end(failed)
        kept = [entry for entry in self._taken if self._windows.get(entry.window.id) is entry.window]
        for entry in reversed(kept):
            entry.stage = Stage.READY
            self._ready.appendleft(entry)
        self._taken = []

    def _take_ready(self, count_max: int, bytes_max: int) -> list[Entry]:
        """The oldest results of partitions that may be committed; the first is taken whatever its size."""
        taken: list[Entry] = []
        kept: deque[Entry] = deque()
        left_bytes = bytes_max
        while self._ready and len(taken) < count_max:
            entry = self._ready.popleft()
            if entry.window.hold is Hold.LIMBO:
                kept.append(entry)
                continue
            left_bytes -= entry.size_bytes
            if taken and left_bytes < 0:
                self._ready.appendleft(entry)
                break
            entry.stage = Stage.TAKEN
            taken.append(entry)
        self._ready.extendleft(reversed(kept))
        return taken

    def _is_moved(self, window: PartitionWindow) -> bool:
        """Whether a round changes its position: results taken, or its base is past the committed one."""
        if window.hold is Hold.LIMBO:
            return False
        return window.base > window.position.offset or any(entry.window is window for entry in self._taken)

    def _end(self, ended: Round) -> None:
        if ended is not self._round:
            raise ValueError("not the round under way")
        self._round = None
