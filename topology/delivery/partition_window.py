"""The records of one partition between poll and commit, under one ownership. Pure state of the tracker.

Records of a key wait in line and run one at a time, so a key finishes in input order; a record without a key is a line
of its own. A finished record leaves the window when it is committed. Until then it counts as incomplete, and the window
never holds more offsets, nor a wider span of them, than the offset map can always encode. Records read beyond that wait
in the backlog, above `next`, where the next owner would read them again.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from itertools import chain

from msgspec import Struct

from topology.contract.records import Headers, PartitionId, PartitionOffset, Record, Result
from topology.delivery.offset_map import decode, encode
from topology.delivery.turns import OldestFirst, Turns


class Stage(Enum):
    """The progress of an incomplete record."""

    LISTED = "listed"
    """The committed map lists it as incomplete, and it has not been delivered again yet."""
    WAITING = "waiting"
    RUNNING = "running"
    READY = "ready"
    TAKEN = "taken"
    """Its result is in the round that is being committed."""


class Hold(Enum):
    """The operations that a partition's window allows."""

    OWNED = "owned"
    SUSPENDED = "suspended"
    """Nothing starts; finished records can still be committed."""
    LIMBO = "limbo"
    """Revoked, and perhaps assigned again later: nothing starts and nothing is committed."""


class Token(Struct, frozen=True):
    """The ownership under which records were read: the membership, and the window's number within this worker."""

    member_id: str
    number: int


class MapLimits(Struct, frozen=True, kw_only=True):
    """The bounds of one partition's offset map: offsets, their span, and characters."""

    incomplete_max: int
    span_max: int
    budget_chars: int


class PartitionStats(Struct, frozen=True, kw_only=True):
    """A snapshot of one partition. `oldest_timestamp_ms` is None if nothing incomplete has been delivered."""

    topic: str
    partition: int
    base: int
    next: int
    committed_offset: int
    incomplete_count: int
    backlog_count: int
    fill: float
    oldest_timestamp_ms: int | None
    map_chars: int
    unread_from: int
    committed_map: str = ""

    def lag(self, end_offset: int) -> int:
        """Count the uncommitted records, if the partition ends at `end_offset`; gaps beyond `next` count as records."""
        return self.incomplete_count + self.backlog_count + max(0, end_offset - self.unread_from)


@dataclass(slots=True, eq=False)
class Entry:
    """An incomplete record. `record` is None while it is LISTED, and kept until its result is committed."""

    window: "PartitionWindow"
    offset: int
    stage: Stage
    record: Record | None = None
    result: Result | None = None
    size_bytes: int = 0
    timestamp_ms: int | None = None


Line = deque[Entry]
"""The records of one key, in the order in which they must be answered."""


@dataclass(slots=True, eq=False)
class PartitionWindow:
    """The window of one partition. `position` is the committed one; UnreadableMap if its metadata is not a map."""

    position: PartitionOffset
    token: Token
    limits: MapLimits
    turns: Turns[Line] = field(default_factory=OldestFirst[Line])
    """The lines whose first record may start, and which of them does so next."""
    hold: Hold = Hold.OWNED
    is_full: bool = False
    next: int = 0
    """The offset from which everything is to be read; below it, every offset without an entry is done."""
    read_next: int = 0
    """The offset after the last record delivered."""
    running_count: int = 0
    size_bytes: int = 0
    vanished_count: int = 0
    """The number of records that the map listed and the partition no longer had."""
    _entries: dict[int, Entry] = field(default_factory=dict[int, Entry])
    """The entries by offset, ascending."""
    _listed: deque[int] = field(default_factory=deque[int])
    _backlog: deque[Entry] = field(default_factory=deque[Entry])
    _lines: dict[bytes | int, Line] = field(default_factory=dict["bytes | int", Line])

    def __post_init__(self) -> None:
        done = decode(self.position.metadata, self.position.offset)
        self.next = done.next
        self.read_next = self.position.offset
        self._listed.extend(done.incomplete)
        self._entries.update({offset: Entry(self, offset, Stage.LISTED) for offset in done.incomplete})

    @property
    def id(self) -> PartitionId:
        """Return the topic and number of the partition."""
        return self.position.topic, self.position.partition

    @property
    def base(self) -> int:
        """Return the lowest incomplete offset, or `next`."""
        return next(iter(self._entries), self.next)

    @property
    def count(self) -> int:
        """Return the number of records held, incomplete or in the backlog."""
        return len(self._entries) - len(self._listed) + len(self._backlog)

    def add(self, record: Record) -> bool:
        """Hold `record`; return False if it is done already or was delivered before."""
        if record.offset < self.read_next:
            return False
        self.read_next = record.offset + 1
        self._forget_vanished(record.offset)
        if record.offset < self.next:
            return self._deliver_listed(record)
        self._backlog.append(self._held(Entry(self, record.offset, Stage.WAITING), record))
        self.admit()
        return True

    def admit(self) -> None:
        """Move records from the backlog into the window while the map has room."""
        while self._backlog and len(self._entries) < self.limits.incomplete_max:
            offset = self._backlog[0].offset
            if offset + 1 - next(iter(self._entries), offset) > self.limits.span_max:
                return
            self.next = offset + 1
            entry = self._entries[offset] = self._backlog.popleft()
            self._enqueue(entry)

    def start(self) -> Record | None:
        """Start the next record whose key is free and return it; None if there is none."""
        if self.hold is not Hold.OWNED or not self.turns:
            return None
        entry = self.turns.pop()[0]
        entry.stage = Stage.RUNNING
        self.running_count += 1
        return entry.record

    def running(self, offset: int) -> Entry | None:
        """Return the entry at `offset` if it is running, else None."""
        entry = self._entries.get(offset)
        return entry if entry is not None and entry.stage is Stage.RUNNING else None

    def finish(self, entry: Entry, result: Result) -> None:
        """Take the result of a running record and free its key."""
        assert entry.record is not None
        key = _line_key(entry.record)
        line = self._lines[key]
        line.popleft()
        if line:
            self._offer(line)
        else:
            del self._lines[key]
        self.running_count -= 1
        size_bytes = _result_bytes(result)
        self.size_bytes += size_bytes - entry.size_bytes
        entry.stage, entry.result, entry.size_bytes = Stage.READY, result, size_bytes

    def replace(self, offset: int, make: Callable[[Record], Result]) -> None:
        """Replace the result of a READY record by what `make` makes of the record; do nothing if there is none."""
        entry = self._entries.get(offset)
        if entry is None or entry.stage is not Stage.READY or entry.record is None:
            return
        entry.result = make(entry.record)
        size_bytes = _result_bytes(entry.result)
        self.size_bytes += size_bytes - entry.size_bytes
        entry.size_bytes = size_bytes

    def position_with_round(self) -> PartitionOffset:
        """Return the position to commit with the results now taken. Its offset is never below the committed one."""
        left = [offset for offset, entry in self._entries.items() if entry.stage is not Stage.TAKEN]
        base = left[0] if left else self.next
        metadata = encode(base, self.next, left, budget_chars=self.limits.budget_chars)
        topic, partition = self.id
        return PartitionOffset(topic=topic, partition=partition, offset=base, metadata=metadata)

    def release(self, entry: Entry) -> None:
        """Drop an entry that was taken and is committed; `apply` follows the last entry of a round."""
        del self._entries[entry.offset]
        self.size_bytes -= entry.size_bytes

    def apply(self, position: PartitionOffset) -> None:
        """Record that a taken round is committed, with `position`."""
        self.position = position
        self.admit()

    def update_fullness(self) -> bool:
        """Return whether reading has to pause: once the map reaches its bounds, until it is down to half of them.

        It never pauses while a record that the committed map lists has not been delivered again, because only reading
        makes room then.
        """
        self.is_full = not self._listed and (
            bool(self._backlog)
            or is_over(len(self._entries), self.limits.incomplete_max, was_over=self.is_full)
            or is_over(self.next - self.base, self.limits.span_max, was_over=self.is_full)
        )
        return self.is_full

    def is_unfinished(self, offset: int) -> bool:
        """Return whether the record has no result yet, whether it was read or not."""
        if offset >= self.next:
            return True
        entry = self._entries.get(offset)
        return entry is not None and entry.stage not in {Stage.READY, Stage.TAKEN}

    def unfinished(self) -> list[int]:
        """Return the offsets without a result, those of the backlog last."""
        left = [offset for offset, entry in self._entries.items() if entry.stage not in {Stage.READY, Stage.TAKEN}]
        return left + [entry.offset for entry in self._backlog]

    def stats(self) -> PartitionStats:
        """Return a snapshot."""
        oldest = next(iter(self._entries.values()), None)
        topic, partition = self.id
        return PartitionStats(
            topic=topic,
            partition=partition,
            base=self.base,
            next=self.next,
            committed_offset=self.position.offset,
            incomplete_count=len(self._entries),
            backlog_count=len(self._backlog),
            fill=len(self._entries) / self.limits.incomplete_max,
            oldest_timestamp_ms=oldest.timestamp_ms if oldest else None,
            map_chars=len(self.position.metadata),
            unread_from=max(self.read_next, self.next),
            committed_map=self.position.metadata,
        )

    def _forget_vanished(self, offset: int) -> None:
        """Drop listed entries below `offset`: delivery is in order, so the partition no longer holds them."""
        while self._listed and self._listed[0] < offset:
            del self._entries[self._listed.popleft()]
            self.vanished_count += 1

    def _deliver_listed(self, record: Record) -> bool:
        if not self._listed or self._listed[0] != record.offset:
            return False
        self._listed.popleft()
        self._enqueue(self._held(self._entries[record.offset], record))
        return True

    def _held(self, entry: Entry, record: Record) -> Entry:
        """Give the entry its record, and return it."""
        entry.stage, entry.record, entry.size_bytes = Stage.WAITING, record, _record_bytes(record)
        entry.timestamp_ms = record.timestamp_ms
        self.size_bytes += entry.size_bytes
        return entry

    def _enqueue(self, entry: Entry) -> None:
        assert entry.record is not None
        key = _line_key(entry.record)
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = deque([entry])
            self._offer(line)
        else:
            line.append(entry)

    def _offer(self, line: Line) -> None:
        """Let a line's first record start."""
        record = line[0].record
        assert record is not None
        self.turns.push(record, line)


def is_over(value: int, bound: int, *, was_over: bool) -> bool:
    """Return whether `value` has reached `bound` and has not fallen to half of it since."""
    return value * 2 > bound if was_over else value >= bound


def _result_bytes(result: Result) -> int:
    """Return the bytes of a result's records and sums: values, keys and headers."""
    records = chain(result.records, result.sums)
    return sum([len(out.value or b"") + len(out.key or b"") + _header_bytes(out.headers) for out in records])


def _record_bytes(record: Record) -> int:
    return len(record.value or b"") + len(record.key or b"") + _header_bytes(record.headers)


def _header_bytes(headers: Headers) -> int:
    return sum(map(len, chain.from_iterable(headers)))


def _line_key(record: Record) -> bytes | int:
    return record.offset if record.key is None else record.key
