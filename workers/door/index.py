"""Where the answers of the last minutes stand on the audited topic, by audit id and by event.

It holds places, not texts. It is filled in the topic's order, and an entry is forgotten by its append time alone, so a
door that has run for days and one that has just read the last `replay_s` seconds know the same.
"""

from collections import deque
from typing import NamedTuple

Event = tuple[str, str]
"""Tenant id and event id."""


class Entry(NamedTuple):
    """A final answer, and the digest of the request that it answers. `appended_ms` is the brokers' time."""

    audit_id: str
    event: Event
    digest: str
    partition: int
    offset: int
    appended_ms: int


class AnswerIndex:
    """At most `entries_max` answers, none older than `replay_ms`. For one thread."""

    def __init__(self, entries_max: int, replay_ms: int) -> None:
        self._entries_max = entries_max
        self._replay_ms = replay_ms
        self._by_audit_id: dict[str, Entry] = {}
        self._by_event: dict[Event, list[Entry]] = {}
        self._order: deque[Entry] = deque()

    def __len__(self) -> int:
        return len(self._order)

    def add(self, entry: Entry) -> None:
        """Take in an answer. Of several to one event the first one counts; one that was read before changes nothing."""
        if entry.audit_id in self._by_audit_id:
            return
        self._by_audit_id[entry.audit_id] = entry
        self._by_event.setdefault(entry.event, []).append(entry)
        self._order.append(entry)
        while len(self._order) > self._entries_max:
            self._drop_oldest()

    def of_event(self, event: Event, now_ms: int) -> Entry | None:
        """Return the answer to an event; None if it has none, or is older than what is kept."""
        found = self._by_event.get(event, ())
        return next((entry for entry in found if not self._is_old(entry, now_ms)), None)

    def of_audit_id(self, audit_id: str, now_ms: int) -> Entry | None:
        """Return the answer of an audit id; None as in `of_event`."""
        entry = self._by_audit_id.get(audit_id)
        return None if entry is None or self._is_old(entry, now_ms) else entry

    def forget(self, now_ms: int) -> None:
        """Drop what is too old to be asked for."""
        while self._order and self._is_old(self._order[0], now_ms):
            self._drop_oldest()

    def _is_old(self, entry: Entry, now_ms: int) -> bool:
        return entry.appended_ms < now_ms - self._replay_ms

    def _drop_oldest(self) -> None:
        oldest = self._order.popleft()
        del self._by_audit_id[oldest.audit_id]
        same = self._by_event[oldest.event]
        same.remove(oldest)
        if not same:
            del self._by_event[oldest.event]
