"""What was read and is not yet committed, per partition, in offset order. Pure state: no I/O, no clock, no threads.

Results may arrive in any order; only the finished prefix of each partition can be taken for a commit, so the
committed position never passes an unfinished record and outputs keep the order of their inputs. Every record is
tied to the epoch it was read in: what finishes after the epoch ended changes nothing.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from topology.ports import OutRecord, PartitionOffset, Record, Result

PartitionKey = tuple[str, int]


@dataclass(slots=True)
class _Entry:
    offset: int
    size: int
    timestamp_ms: int
    result: Result | None = None


@dataclass(slots=True)
class _Partition:
    """`unfinished` is what comes after the finished prefix, which is all that can be taken."""

    entries: deque[_Entry] = field(default_factory=deque["_Entry"])
    unfinished: deque[_Entry] = field(default_factory=deque["_Entry"])
    by_offset: dict[int, _Entry] = field(default_factory=dict[int, "_Entry"])


@dataclass(frozen=True, slots=True)
class Batch:
    """What one transaction makes visible: results in input order, and the next offset per partition."""

    results: tuple[Result, ...]
    offsets: tuple[PartitionOffset, ...]
    epoch: int

    @property
    def count(self) -> int:
        """How many input records it answers."""
        return len(self.results)

    @property
    def records(self) -> list[OutRecord]:
        """Everything to be written, in input order."""
        return [record for result in self.results for record in result.records]


class Window:
    """Tracks records between poll and commit.

    `count` and `size_bytes` are what is held now, finished or not; `ready` is how many have a result, and `due` how
    many of those have no unfinished record in front of them: what `take` can give.
    """

    def __init__(self) -> None:
        self.epoch = 0
        self.count = 0
        self.size_bytes = 0
        self.ready = 0
        self.due = 0
        self._partitions: dict[PartitionKey, _Partition] = {}

    def add(self, records: Iterable[Record]) -> None:
        """Hold `records`, each partition's in offset order. Raises ValueError on one at or below the last held."""
        for record in records:
            held = self._partitions.setdefault((record.topic, record.partition), _Partition())
            if held.entries and record.offset <= held.entries[-1].offset:
                raise ValueError(f"offset {record.offset} of {record.topic}/{record.partition} was read twice")
            entry = _Entry(offset=record.offset, size=_size(record), timestamp_ms=record.timestamp_ms)
            held.entries.append(entry)
            held.unfinished.append(entry)
            held.by_offset[record.offset] = entry
            self.count += 1
            self.size_bytes += entry.size

    def finish(self, result: Result, epoch: int) -> bool:
        """Attach a result to its record. False, changing nothing, when it is of another epoch or not held."""
        held = self._partitions.get((result.topic, result.partition)) if epoch == self.epoch else None
        entry = held.by_offset.get(result.offset) if held is not None else None
        if held is None or entry is None or entry.result is not None:
            return False
        entry.result = result
        self.ready += 1
        while held.unfinished and held.unfinished[0].result is not None:
            held.unfinished.popleft()
            self.due += 1
        return True

    def take(self, count_max: int) -> Batch | None:
        """The finished prefixes of all partitions, at most `count_max` records; None when there is nothing.

        What is returned stays held until `settle`.
        """
        results: list[Result] = []
        offsets: list[PartitionOffset] = []
        for (topic, partition), held in self._partitions.items():
            last = -1
            for entry in held.entries:
                if entry.result is None or len(results) >= count_max:
                    break
                results.append(entry.result)
                last = entry.offset
            if last >= 0:
                offsets.append(PartitionOffset(topic=topic, partition=partition, offset=last + 1))
        return Batch(results=tuple(results), offsets=tuple(offsets), epoch=self.epoch) if results else None

    def settle(self, batch: Batch) -> None:
        """Let go of what `batch` committed. A batch of another epoch changes nothing."""
        if batch.epoch != self.epoch:
            return
        for position in batch.offsets:
            held = self._partitions[(position.topic, position.partition)]
            while held.entries and held.entries[0].offset < position.offset:
                entry = held.entries.popleft()
                del held.by_offset[entry.offset]
                self.count -= 1
                self.ready -= 1
                self.due -= 1
                self.size_bytes -= entry.size

    def clear(self) -> None:
        """Forget everything and begin a new epoch: what is still running finishes into nothing."""
        self.epoch += 1
        self.count = self.size_bytes = self.ready = self.due = 0
        self._partitions.clear()

    def held(self) -> dict[PartitionKey, tuple[int, int]]:
        """How many records each partition has here, and the first one's timestamp (epoch ms); empty ones left out."""
        return {
            key: (len(held.entries), held.entries[0].timestamp_ms)
            for key, held in self._partitions.items()
            if held.entries
        }


def _size(record: Record) -> int:
    return len(record.value or b"") + len(record.key or b"") + sum([len(k) + len(v) for k, v in record.headers])
