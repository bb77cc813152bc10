"""The results that wait for a transaction, in order of completion, and the round that is being committed.

Pure state of the tracker. A result is held until its round is applied; results of an aborted round come first in the
next one.
"""

from collections import deque
from collections.abc import Mapping

from msgspec import Struct

from topology.contract.records import OutRecord, Ownership, PartitionId, PartitionOffset, Result
from topology.delivery.partition_window import Entry, Hold, PartitionWindow, Stage, Token


class Round(Struct, frozen=True, kw_only=True):
    """The content of one transaction: results in order of completion, and the position of each partition after it."""

    ownership: Ownership
    results: tuple[Result, ...]
    offsets: tuple[PartitionOffset, ...]
    tokens: tuple[Token, ...]
    """The token of each entry of `offsets`."""

    @property
    def count(self) -> int:
        """Return the number of input records that the round answers."""
        return len(self.results)

    @property
    def records(self) -> list[OutRecord]:
        """Return all records to be written; of several sums with one key, only the last."""
        sums = {(record.topic, record.key): record for result in self.results for record in result.sums}
        return [*(record for result in self.results for record in result.records), *sums.values()]


class Rounds:
    """The ready results and the current round of the tracker that owns `windows`."""

    def __init__(self, windows: Mapping[PartitionId, PartitionWindow]) -> None:
        self._windows = windows
        self._ready: deque[Entry] = deque()
        self._taken: list[Entry] = []
        self._round: Round | None = None

    @property
    def ready_count(self) -> int:
        """Return `Tracker.ready_count`."""
        return len(self._ready)

    @property
    def due_count(self) -> int:
        """Return `Tracker.due_count`."""
        is_any_held_back = any(window.hold is Hold.LIMBO for window in self._windows.values())
        return sum(e.window.hold is not Hold.LIMBO for e in self._ready) if is_any_held_back else len(self._ready)

    def add(self, entry: Entry) -> None:
        """Add a record that has its result."""
        self._ready.append(entry)

    def drop(self, window: PartitionWindow) -> None:
        """Drop the results of a window that is no longer owned."""
        self._ready = deque(entry for entry in self._ready if entry.window is not window)

    def take(self, ownership: Ownership, count_max: int, bytes_max: int) -> Round | None:
        """Take a round as `Tracker.take` does, for the current owner."""
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
        """Apply a round as `Tracker.applied` does."""
        self._end(done)
        for entry in self._taken:
            entry.window.release(entry)
        for position, token in zip(done.offsets, done.tokens, strict=True):
            window = self._windows.get((position.topic, position.partition))
            if window is not None and window.token == token:
                window.apply(position)
        self._taken = []

    def aborted(self, failed: Round) -> None:
        """Put a round back as `Tracker.aborted` does."""
        self._end(failed)
        kept = [entry for entry in self._taken if self._windows.get(entry.window.id) is entry.window]
        for entry in reversed(kept):
            entry.stage = Stage.READY
            self._ready.appendleft(entry)
        self._taken = []

    def _take_ready(self, count_max: int, bytes_max: int) -> list[Entry]:
        """Take the oldest results of partitions that may be committed; the first is taken whatever its size."""
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
        """Return whether a round moves the position: results were taken, or the base is past the committed offset."""
        if window.hold is Hold.LIMBO:
            return False
        return window.base > window.position.offset or any(entry.window is window for entry in self._taken)

    def _end(self, ended: Round) -> None:
        if ended is not self._round:
            raise ValueError("not the round under way")
        self._round = None
