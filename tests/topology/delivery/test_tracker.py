"""The tracker: key order, completion out of order, what is committed, what a map brings back.

The guards of ownership are in test_tracker_ownership.py, those of bounds in test_tracker_bounds.py.

Each guard, and the test that fails where it is taken out (every row was tried):

| guard                                                   | test                                                      |
|---------------------------------------------------------|-----------------------------------------------------------|
| one record of a key runs at a time                      | test_a_key_runs_one_at_a_time_and_in_order                |
| a record without a key is a line of its own             | test_records_without_a_key_wait_for_nothing               |
| partitions take turns                                   | test_partitions_take_turns                                |
| a finished item is not finished again                   | test_a_second_result_changes_nothing                      |
| a result belongs to its record                          | test_a_result_of_another_record_is_a_bug                  |
| what is done is not delivered again                     | test_what_the_map_says_is_done_is_not_accepted            |
| what was delivered is not delivered again               | test_what_waits_in_the_backlog_is_not_accepted_again      |
| listed offsets stay listed until delivered (I8)         | test_what_the_map_lists_stays_listed_until_it_is_answered |
| listed offsets that are gone do not hold the base       | test_what_the_map_lists_and_is_gone_no_longer_counts      |
| results left out of a round count as incomplete (I1)    | test_a_result_left_for_the_next_round_is_not_marked_done  |
| one round at a time                                     | test_the_next_round_waits_for_the_one_under_way           |
| only the round under way ends                           | test_a_round_ends_once                                    |
| aborted results come first, in their order              | test_an_aborted_round_is_taken_again_in_its_order         |
| a round has a first result, and no more than its bounds | test_a_round_is_bounded_but_never_empty                   |
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.topology.delivery.tracker_world import (
    TOPIC,
    WIDE,
    answered,
    done_above,
    finish,
    member,
    offsets,
    owning,
    position,
    record,
    result,
    start_all,
    take,
)
from topology.delivery.offset_map import decode, encode
from topology.delivery.tracker import Tracker, TrackerLimits

# Order and work


def test_a_key_runs_one_at_a_time_and_in_order() -> None:
    tracker = owning(0)
    tracker.add([record(0, b"a"), record(1, b"a"), record(2, b"b"), record(3, b"a")])
    seen = list[int]()
    while items := tracker.next_to_start(10):
        seen.extend(offsets(items))
        keys = [item.record.key for item in items]
        assert len(set(keys)) == len(keys)
        finish(tracker, *reversed(items))
    assert seen == [0, 2, 1, 3]
    assert answered(take(tracker)) == [(0, 2), (0, 0), (0, 1), (0, 3)]


def test_what_waited_for_its_key_starts_before_what_came_later() -> None:
    """A conversation's next event was there first; at the end of the line it would wait a whole window more."""
    tracker = owning(0)
    tracker.add([record(0, b"a"), record(1, b"a"), record(2, b"b"), record(3, b"c")])
    (first,) = tracker.next_to_start(1)
    finish(tracker, first)
    assert offsets(tracker.next_to_start(2)) == [1, 2]


def test_records_without_a_key_wait_for_nothing() -> None:
    tracker = owning(0)
    tracker.add([record(0, None), record(1, None), record(2, b""), record(3, b"")])
    assert offsets(tracker.next_to_start(10)) == [0, 1, 2]


def test_partitions_take_turns() -> None:
    tracker = owning(0, 1)
    tracker.add([record(offset, None) for offset in range(100)])
    tracker.add([record(offset, None, partition=1) for offset in range(2)])
    started = [(item.record.partition, item.record.offset) for _ in range(4) for item in tracker.next_to_start(1)]
    assert started == [(0, 0), (1, 0), (0, 1), (1, 1)]


def test_no_more_starts_than_asked_for() -> None:
    tracker = owning(0, 1)
    tracker.add([record(offset, None, partition=partition) for partition in (0, 1) for offset in range(10)])
    assert len(tracker.next_to_start(7)) == 7
    assert tracker.running_count == 7
    assert len(tracker.next_to_start(100)) == 13
    assert tracker.next_to_start(100) == []


def test_a_second_result_changes_nothing() -> None:
    tracker = owning(0)
    tracker.add([record(0)])
    item = start_all(tracker)[0, 0]
    finish(tracker, item)
    assert not tracker.finish(item, result(item))
    assert tracker.ready_count == 1


def test_a_result_of_another_record_is_a_bug() -> None:
    tracker = owning(0)
    tracker.add([record(0, b"a"), record(1, b"b")])
    items = start_all(tracker)
    with pytest.raises(ValueError, match="offset 1"):
        tracker.finish(items[0, 1], result(items[0, 0]))


# What is committed


def test_what_is_done_above_the_base_is_in_the_map() -> None:
    tracker = owning(0, start=5)
    tracker.add([record(offset, None) for offset in (5, 6, 8, 9)])
    items = start_all(tracker)
    finish(tracker, items[0, 8], items[0, 6])
    taken = take(tracker)
    assert answered(taken) == [(0, 8), (0, 6)]
    (at,) = taken.offsets
    assert (at.offset, done_above(at)) == (5, [6, 7, 8])
    tracker.applied(taken)
    finish(tracker, items[0, 5], items[0, 9])
    assert take(tracker).offsets == (position(10),)


def test_what_was_applied_is_held_no_more() -> None:
    tracker = owning(0)
    tracker.add([record(0, None), record(1, None)])
    items = start_all(tracker)
    finish(tracker, items[0, 1])
    tracker.applied(take(tracker))
    stats = tracker.stats()
    assert (stats.held_count, stats.held_bytes, stats.ready_count, stats.running_count) == (1, 2, 0, 1)
    assert tracker.unfinished() == [(TOPIC, 0, 0)]
    finish(tracker, items[0, 0])
    tracker.applied(take(tracker))
    assert (tracker.held_count, tracker.stats().held_bytes) == (0, 0)
    assert tracker.take(member(), 10, 10) is None


def test_a_result_left_for_the_next_round_is_not_marked_done() -> None:
    tracker = owning(0)
    tracker.add([record(offset, None) for offset in range(3)])
    items = start_all(tracker)
    finish(tracker, items[0, 2], items[0, 0], items[0, 1])
    first = take(tracker, count_max=2)
    assert first.offsets == (position(1, encode(1, 3, [1])),)
    tracker.applied(first)
    assert answered(take(tracker)) == [(0, 1)]


def test_what_finishes_during_a_round_is_not_in_it() -> None:
    tracker = owning(0)
    tracker.add([record(offset, None) for offset in range(3)])
    items = start_all(tracker)
    finish(tracker, items[0, 1])
    taken = take(tracker)
    finish(tracker, items[0, 0])
    tracker.applied(taken)
    second = take(tracker)
    assert (answered(second), second.offsets) == ([(0, 0)], (position(2),))


def test_a_round_is_bounded_but_never_empty() -> None:
    tracker = owning(0)
    tracker.add([record(offset, None) for offset in range(6)])
    items = start_all(tracker)
    for item in items.values():
        assert tracker.finish(item, result(item, size=100))
    sizes = list[int]()
    while taken := tracker.take(member(), 2, 250 if len(sizes) else 1):
        sizes.append(taken.count)
        tracker.applied(taken)
    assert sizes == [1, 2, 2, 1]


def test_the_next_round_waits_for_the_one_under_way() -> None:
    tracker = owning(0)
    tracker.add([record(0)])
    finish(tracker, start_all(tracker)[0, 0])
    take(tracker)
    with pytest.raises(ValueError, match="under way"):
        tracker.take(member(), 10, 10)


def test_a_round_ends_once() -> None:
    tracker = owning(0)
    tracker.add([record(0)])
    finish(tracker, start_all(tracker)[0, 0])
    taken = take(tracker)
    tracker.applied(taken)
    with pytest.raises(ValueError, match="not the round"):
        tracker.applied(taken)
    with pytest.raises(ValueError, match="not the round"):
        tracker.aborted(taken)


def test_an_aborted_round_is_taken_again_in_its_order() -> None:
    tracker = owning(0)
    tracker.add([record(offset, None) for offset in range(4)])
    items = start_all(tracker)
    finish(tracker, items[0, 3], items[0, 1])
    failed = take(tracker)
    finish(tracker, items[0, 0])
    tracker.aborted(failed)
    assert answered(take(tracker)) == [(0, 3), (0, 1), (0, 0)]


@given(st.lists(st.tuples(st.sampled_from([b"a", b"b", None]), st.integers(1, 3)), max_size=30), st.data())
def test_every_position_says_exactly_what_was_answered(
    written: list[tuple[bytes | None, int]], data: st.DataObject
) -> None:
    """Gaps between offsets are done; a round more, or one that failed, changes nothing about that."""
    limits = TrackerLimits(count_max=100, bytes_max=1 << 20, incomplete_max=data.draw(st.integers(1, 6)))
    tracker = owning(0, limits=limits)
    offset, records = -1, []
    for key, gap in written:
        offset += gap
        records.append(record(offset, key))
    tracker.add(records)
    done, at, running = set[int](), position(0), []
    while len(done) < len(records):
        running += tracker.next_to_start(data.draw(st.integers(1, 4)))
        chosen = running.pop(data.draw(st.integers(0, len(running) - 1))) if running else None
        if chosen is not None:
            finish(tracker, chosen)
        if (taken := tracker.take(member(), data.draw(st.integers(1, 3)), 1 << 20)) is None:
            continue
        if data.draw(st.booleans()):
            tracker.aborted(taken)
            continue
        tracker.applied(taken)
        done |= {offset for _, offset in answered(taken)}
        (now,) = taken.offsets
        assert now.offset >= at.offset
        at = now
        found = decode(at.metadata, at.offset)
        to_read = {one.offset for one in records if one.offset in found.incomplete or one.offset >= found.next}
        assert to_read == {one.offset for one in records} - done


# What a map brings back


def restored(base: int, next_offset: int, incomplete: list[int]) -> Tracker:
    tracker = Tracker(WIDE)
    tracker.assign(member(), [(TOPIC, 0)])
    assert tracker.restore(position(base, encode(base, next_offset, incomplete))) == base
    return tracker


def test_what_the_map_says_is_done_is_not_accepted() -> None:
    tracker = restored(3, 10, [3, 6])
    assert tracker.add([record(offset, None) for offset in range(3, 12)]) == 4
    assert sorted(offset for _, _, offset in tracker.unfinished()) == [3, 6, 10, 11]


def test_what_was_delivered_is_not_accepted_again() -> None:
    tracker = owning(0)
    assert tracker.add([record(0), record(1)]) == 2
    assert tracker.add([record(0), record(1), record(2)]) == 1
    assert tracker.held_count == 3


def test_what_waits_in_the_backlog_is_not_accepted_again() -> None:
    tracker = owning(0, limits=replace(WIDE, incomplete_max=1))
    assert tracker.add([record(0), record(1)]) == 2
    assert tracker.add([record(1)]) == 0


def test_what_the_map_lists_stays_listed_until_it_is_answered() -> None:
    tracker = restored(3, 10, [3, 6, 8])
    tracker.add([record(3, None), record(6, None)])
    items = start_all(tracker)
    finish(tracker, items[0, 3])
    taken = take(tracker)
    (at,) = taken.offsets
    assert (at.offset, done_above(at)) == (6, [7, 9])
    tracker.applied(taken)
    assert tracker.held_count == 1


def test_what_the_map_lists_and_is_gone_no_longer_counts() -> None:
    tracker = restored(3, 10, [3, 6, 8])
    tracker.add([record(8, None), record(12, None)])
    assert tracker.stats().vanished_count == 2
    finish(tracker, *start_all(tracker).values())
    assert take(tracker).offsets == (position(13),)


# Figures


def test_the_lag_counts_what_is_incomplete_and_not_what_is_done() -> None:
    tracker = owning(0, limits=replace(WIDE, incomplete_max=3))
    tracker.add([record(offset, None) for offset in range(5)])
    items = start_all(tracker)
    finish(tracker, items[0, 1], items[0, 2])
    tracker.applied(take(tracker))
    (stats,) = tracker.stats().partitions
    assert (stats.base, stats.next, stats.committed_offset) == (0, 5, 0)
    assert stats.oldest_timestamp_ms == 1000
    assert stats.map_chars > 0
    assert stats.lag(5) == 3
    assert stats.lag(8) == 6


def test_the_lag_after_a_restart_is_the_same() -> None:
    (stats,) = restored(0, 8, [0, 5]).stats().partitions
    assert (stats.lag(8), stats.lag(10), stats.oldest_timestamp_ms) == (2, 4, None)
