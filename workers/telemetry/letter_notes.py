"""Notes of the dead letters that a worker writes: how many, and where the last one came from, without user text."""

import threading
from collections.abc import Sequence

from msgspec import Struct

from topology.contract.headers import last_header
from topology.contract.lineage import source_of
from topology.contract.names import Header
from topology.contract.records import OutRecord, Ownership, PartitionOffset
from topology.ports import Sink


class LetterNote(Struct, frozen=True, kw_only=True):
    """Some dead letters. Reason, detail and place (`topic:partition:offset` on the input) are the last one's."""

    count: int
    reason: str
    detail: str
    place: str


class LetterNotes:
    """The dead letters that became visible since they were last asked for. From any thread."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._lock = threading.Lock()
        self._count = 0
        self._last: OutRecord | None = None

    def written(self, records: Sequence[OutRecord]) -> None:
        """Note those of these records that are dead letters."""
        letters = [record for record in records if record.topic == self._topic]
        if letters:
            with self._lock:
                self._count += len(letters)
                self._last = letters[-1]

    def take(self) -> LetterNote | None:
        """Return what was noted since the last call; None if nothing was."""
        with self._lock:
            count, last = self._count, self._last
            self._count, self._last = 0, None
        if last is None:
            return None
        source = source_of(last.headers)
        place = "" if source is None else f"{source.topic}:{source.partition}:{source.offset}"
        reason, detail = (last_header(last.headers, name) or "" for name in (Header.REASON, Header.DETAIL))
        return LetterNote(count=count, reason=reason, detail=detail, place=place)


class NotedSink:
    """A sink that notes the dead letters which became visible."""

    def __init__(self, inner: Sink, notes: LetterNotes) -> None:
        self._inner = inner
        self._notes = notes

    def commit(self, records: Sequence[OutRecord], offsets: Sequence[PartitionOffset], ownership: Ownership) -> bool:
        """See `Sink.commit`."""
        is_done = self._inner.commit(records, offsets, ownership)
        if is_done:
            self._notes.written(records)
        return is_done

    def close(self) -> None:
        """See `Sink.close`."""
        self._inner.close()
