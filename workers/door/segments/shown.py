"""What may be shown of answers that are not whole yet, by audit id. All calls are on the door's loop.

Each is shown by the reader's rule alone (`topology/streaming/reader_rule.py`). A text is kept until its response was
read, for those who ask while it is made; at most `bytes_max` in all, what was touched longest ago is dropped first.
What was dropped is not shown again before its response, and nothing is kept of records that come after the response.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

from topology.contract.streams import StreamRecord
from topology.streaming.reader_rule import Shown

ENTRY_BYTES: Final = 1024
"""What a text takes besides its characters."""

OVER_MAX: Final = 10_000
"""Audit ids that are remembered as dropped, or as answered."""

Listener = Callable[[str], None]
"""A function that is told of each further text to show."""


class _Entry:
    __slots__ = ("listeners", "shown", "touched_ms")

    def __init__(self, shown: Shown) -> None:
        self.shown = shown
        self.listeners: list[Listener] = []
        self.touched_ms = 0


class ShownTexts:
    """At most `bytes_max` of texts, none untouched for `kept_ms`."""

    def __init__(self, bytes_max: int, kept_ms: int) -> None:
        self._bytes_max = bytes_max
        self._kept_ms = kept_ms
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._over: OrderedDict[str, None] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return len(self._entries)

    def take(self, read: Iterable[StreamRecord], now_ms: int) -> None:
        """Take in records, in the order of their partition, and tell those who listen."""
        for record in read:
            if record.audit_id in self._over:
                continue
            entry = self._entry(record.audit_id, now_ms)
            text = entry.shown.take(record)
            self._size += len(text.encode("utf-8", "replace"))
            if text:
                for listener in list(entry.listeners):
                    listener(text)
        self._drop(now_ms)

    def listen(self, audit_id: str, listener: Listener, now_ms: int) -> str:
        """Return what is shown by now, and have the listener told of what follows."""
        entry = self._entry(audit_id, now_ms)
        entry.listeners.append(listener)
        return entry.shown.text

    def unlisten(self, audit_id: str, listener: Listener) -> None:
        """Tell the listener nothing more."""
        entry = self._entries.get(audit_id)
        if entry is not None and listener in entry.listeners:
            entry.listeners.remove(listener)

    def end(self, audit_id: str) -> None:
        """Forget a text whose response was read, or that is dropped."""
        self._over[audit_id] = None
        self._over.move_to_end(audit_id)
        if len(self._over) > OVER_MAX:
            self._over.popitem(last=False)
        entry = self._entries.pop(audit_id, None)
        if entry is not None:
            self._size -= len(entry.shown.text.encode("utf-8", "replace"))

    def _entry(self, audit_id: str, now_ms: int) -> _Entry:
        entry = self._entries.get(audit_id)
        if entry is None:
            entry = self._entries[audit_id] = _Entry(Shown(is_from_start=audit_id not in self._over))
        entry.touched_ms = now_ms
        self._entries.move_to_end(audit_id)
        return entry

    def _drop(self, now_ms: int) -> None:
        """Drop the oldest beyond the bound, and those whose response never came."""
        while self._entries:
            audit_id, entry = next(iter(self._entries.items()))
            is_old = now_ms - entry.touched_ms > self._kept_ms
            if not is_old and self._size + ENTRY_BYTES * len(self._entries) <= self._bytes_max:
                break
            self.end(audit_id)
