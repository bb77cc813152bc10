"""What a worker keeps of streams: bounds, claims, and what it can no longer tell."""

from collections.abc import Sequence

from topology.contract.records import Record
from topology.streaming.reader_rule import BEGIN_BEFORE_MS
from workers.streaming.index import StreamIndex

MINUTE_MS = 60_000


def record(offset: int, audit_id: str = "a1", at_ms: int | None = None, size: int = 10) -> Record:
    at_ms = 10 * MINUTE_MS + offset if at_ms is None else at_ms
    value = bytes(size - len(audit_id))
    return Record(topic="s", partition=0, offset=offset, timestamp_ms=at_ms, key=audit_id.encode(), value=value)


class Run:
    def __init__(self) -> None:
        self.offsets: list[int] = []

    def taken(self, records: Sequence[Record]) -> None:
        self.offsets.extend(record.offset for record in records)


def offsets(records: Sequence[Record]) -> list[int]:
    return [record.offset for record in records]


def index(bytes_max: int = 1000, kept_s: float = 600) -> StreamIndex:
    return StreamIndex(bytes_max=bytes_max, kept_s=kept_s)


def test_a_claim_returns_what_was_read_and_is_told_of_the_rest() -> None:
    held, run = index(), Run()
    held.take(0, [record(0), record(1, "other"), record(2)])
    assert offsets(held.claim(0, "a1", run.taken)) == [0, 2]
    held.take(0, [record(3), record(4, "other")])
    assert run.offsets == [3]


def test_records_that_come_again_change_nothing_and_older_ones_take_their_place() -> None:
    held, run = index(), Run()
    held.take(0, [record(5), record(6)])
    held.claim(0, "a1", run.taken)
    held.take(0, [record(3), record(4), record(5), record(6), record(7)])
    assert run.offsets == [3, 4, 7]
    assert offsets(held.claim(0, "a1", run.taken)) == [3, 4, 5, 6, 7]
    assert held.size_bytes == 50


def test_a_claim_ends_with_its_object() -> None:
    held, run = index(bytes_max=15), Run()
    held.claim(0, "a1", run.taken)
    held.take(0, [record(0), record(1)])
    assert held.size_bytes == 20  # beyond the bound, because it is claimed
    del run
    held.take(0, [record(2, "other")])
    assert held.size_bytes == 10


def test_the_oldest_are_forgotten_first_and_whoever_asks_for_them_is_told() -> None:
    held = index(bytes_max=25)
    held.take(0, [record(0, "old"), record(1, "new"), record(2, "newest")])
    assert held.size_bytes == 20
    event_ms = record(0).timestamp_ms
    assert not held.is_whole(0, event_ms)
    assert not held.is_whole(0, event_ms + BEGIN_BEFORE_MS)
    assert held.is_whole(0, event_ms + BEGIN_BEFORE_MS + 1)


def test_what_is_too_old_is_forgotten() -> None:
    held = index(kept_s=60)
    held.take(0, [record(0, at_ms=0), record(1, "new", at_ms=MINUTE_MS)])
    assert held.size_bytes == 20
    held.take(0, [record(2, "new", at_ms=MINUTE_MS + 1)])
    assert held.size_bytes == 20


def test_after_missing_offsets_nobody_can_tell_of_events_from_before() -> None:
    held = index()
    held.take(0, [record(0)])
    assert held.is_whole(0, MINUTE_MS)
    held.take(0, [record(2)])
    assert not held.is_whole(0, record(2).timestamp_ms)
    assert held.is_whole(0, record(2).timestamp_ms + BEGIN_BEFORE_MS + 1)


def test_a_partition_that_is_let_go_is_forgotten() -> None:
    held, run = index(), Run()
    held.take(0, [record(0)])
    held.take(1, [record(0)])
    held.keep([1])
    assert (held.size_bytes, held.is_whole(0, 10 * MINUTE_MS), held.is_whole(1, 10 * MINUTE_MS)) == (10, False, True)
    assert not held.claim(0, "a1", run.taken)
