"""The records of streams in the partitions that a worker owns, by audit id, as far as they may still be asked for.

The follower's thread adds records; the event loop claims an audit id and is told of what comes later. What is older
than `kept_s`, or the oldest beyond `bytes_max`, is forgotten, but nothing that is claimed. An event whose records may
have been among what was forgotten, or among what retention removed before it was read, is not whole any more.
"""

import threading
from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from typing import Final
from weakref import WeakMethod

from topology.contract.records import Record
from topology.streaming.reader_rule import BEGIN_BEFORE_MS

NEVER: Final = -1

Told = Callable[[Sequence[Record]], object]
"""A bound method that is told of new records of one audit id, in the partition's order, on the follower's thread."""


def _offset(record: Record) -> int:
    return record.offset


class _Stream:
    """The records of one audit id, in the partition's order."""

    __slots__ = ("records", "size_bytes", "told")

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.size_bytes = 0
        self.told: WeakMethod[Told] | None = None

    def add(self, record: Record) -> bool:
        """Add a record; return False if it is here already."""
        records = self.records
        if not records or record.offset > records[-1].offset:
            records.append(record)
        else:
            place = bisect_left(records, record.offset, key=_offset)
            if records[place].offset == record.offset:
                return False
            insort(records, record, key=_offset)
        self.size_bytes += _size(record)
        return True

    @property
    def is_claimed(self) -> bool:
        return self.told is not None and self.told() is not None


class _Partition:
    __slots__ = ("lost_ms", "next", "streams")

    def __init__(self) -> None:
        self.streams: OrderedDict[bytes, _Stream] = OrderedDict()
        """Those that got a record last are last."""
        self.next: int | None = None
        self.lost_ms = NEVER
        """The latest append time of a record that was forgotten, or of one before which records are missing."""


class StreamIndex:
    """The records of all partitions that are owned. Safe for several threads."""

    def __init__(self, *, bytes_max: int, kept_s: float) -> None:
        self._bytes_max = bytes_max
        self._kept_ms = int(kept_s * 1000)
        self._lock = threading.Lock()
        self._partitions: dict[int, _Partition] = {}
        self.size_bytes = 0
        """What all records take."""

    def take(self, number: int, records: Sequence[Record]) -> None:
        """Add records that were read. Those that are here already change nothing."""
        news: dict[bytes, list[Record]] = {}
        with self._lock:
            held = self._partitions.setdefault(number, _Partition())
            for record in records:
                if held.next is not None and record.offset > held.next:
                    held.lost_ms = max(held.lost_ms, record.timestamp_ms)
                held.next = record.offset + 1
                if record.key is not None and self._add(held, record.key, record):
                    news.setdefault(record.key, []).append(record)
            self._forget(held, records[-1].timestamp_ms)
            told = {key: found for key in news if (found := self._told(held, key)) is not None}
        for key, tell in told.items():
            tell(news[key])

    def claim(self, number: int, audit_id: str, told: Told) -> list[Record]:
        """Return the records of an audit id; `told` is called with later ones while its object lives."""
        with self._lock:
            held = self._partitions.setdefault(number, _Partition())
            stream = held.streams.setdefault(audit_id.encode(), _Stream())
            stream.told = WeakMethod(told)
            return list(stream.records)

    def is_whole(self, number: int, event_ms: int) -> bool:
        """Return whether no record of an event that was appended at `event_ms` can have been forgotten or missed."""
        with self._lock:
            held = self._partitions.get(number)
            return held is not None and held.lost_ms < event_ms - BEGIN_BEFORE_MS

    def keep(self, numbers: Collection[int]) -> None:
        """Forget every partition but these."""
        with self._lock:
            for number in self._partitions.keys() - set(numbers):
                gone = self._partitions.pop(number)
                self.size_bytes -= sum(stream.size_bytes for stream in gone.streams.values())

    def _add(self, held: _Partition, key: bytes, record: Record) -> bool:
        stream = held.streams.setdefault(key, _Stream())
        if not stream.add(record):
            return False
        held.streams.move_to_end(key)
        self.size_bytes += _size(record)
        return True

    def _told(self, held: _Partition, key: bytes) -> Told | None:
        stream = held.streams.get(key)
        return stream.told() if stream is not None and stream.told is not None else None

    def _forget(self, held: _Partition, now_ms: int) -> None:
        """Forget the oldest streams of a partition that are too old, or beyond the bytes that may be kept."""
        doomed: list[bytes] = []
        for key, stream in held.streams.items():
            if stream.is_claimed:
                continue
            last_ms = stream.records[-1].timestamp_ms if stream.records else NEVER
            if last_ms >= now_ms - self._kept_ms and self.size_bytes <= self._bytes_max:
                break
            doomed.append(key)
            self.size_bytes -= stream.size_bytes
            held.lost_ms = max(held.lost_ms, last_ms)
        for key in doomed:
            del held.streams[key]


def _size(record: Record) -> int:
    headers = sum(len(name) + len(value) for name, value in record.headers)
    return len(record.value or b"") + len(record.key or b"") + headers
