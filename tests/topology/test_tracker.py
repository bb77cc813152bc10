"""The tracker: key order, completion out of order, what is committed, who owns it, and what is paused.

Each guard, and the test that fails where it is taken out (every row was tried):

| guard                                                   | test                                                      |
|---------------------------------------------------------|-----------------------------------------------------------|
| one record of a key runs at a time                      | test_a_key_runs_one_at_a_time_and_in_order                |
| a record without a key is a line of its own             | test_records_without_a_key_wait_for_nothing               |
| partitions take turns                                   | test_partitions_take_turns                                |
| a start has a number: an older one's result is dropped  | test_the_result_of_an_earlier_start_changes_nothing       |
| a window has a token (I12)                              | test_what_finishes_under_a_dead_token_changes_nothing     |
| a finished item is not finished again                   | test_a_second_result_changes_nothing                      |
| a result belongs to its record                          | test_a_result_of_another_record_is_a_bug                  |
| what is done is not delivered again                     | test_what_the_map_says_is_done_is_not_accepted            |
| what was delivered is not delivered again               | test_what_waits_in_the_backlog_is_not_accepted_again      |
| listed offsets stay listed until delivered (I8)         | test_what_the_map_lists_stays_listed_until_it_is_answered |
| listed offsets that are gone do not hold the base       | test_what_the_map_lists_and_is_gone_no_longer_counts      |
| results left out of a round count as incomplete (I1)    | test_a_result_left_for_the_next_round_is_not_marked_done  |
| records of the backlog are above `next` (I8)            | test_what_waits_in_the_backlog_is_not_marked_done         |
| incomplete_max (I6, I9)                                 | test_a_window_never_holds_more_than_its_map_can_say       |
| the map's budget lowers incomplete_max (I6)             | test_a_smaller_budget_makes_a_smaller_window              |
| span_max (I6), and a backlog pauses                     | test_a_window_is_never_wider_than_its_span                |
| an ownership without generation or member takes nothing | test_nothing_is_taken_without_a_membership                |
| only the membership assigned last takes (I5)            | test_nothing_is_taken_under_another_membership            |
| one round at a time                                     | test_the_next_round_waits_for_the_one_under_way           |
| only the round under way ends                           | test_a_round_ends_once                                    |
| aborted results come first, in their order              | test_an_aborted_round_is_taken_again_in_its_order         |
| aborted results of a lost partition are dropped         | test_what_was_aborted_and_lost_is_not_taken_again         |
| a round of a dead window is not applied                 | test_a_round_that_ends_after_its_partition_was_lost       |
| ready results of a lost partition are dropped           | test_ready_results_of_a_lost_partition_are_not_taken      |
| parked items of a lost partition are dropped            | test_a_parked_item_of_a_lost_partition_never_starts       |
| suspended: nothing starts, results are taken            | test_a_suspended_partition_starts_nothing_and_commits     |
| limbo: nothing starts, nothing is taken, results stay   | test_in_limbo_results_are_kept_and_nothing_is_taken       |
| limbo: no position is committed                         | test_in_limbo_no_position_is_committed                    |
| limbo: nothing is accepted                              | test_in_limbo_nothing_is_accepted                         |
| an assignment is limbo until restored                   | test_an_assignment_puts_in_limbo_what_was_not_revoked     |
| limbo goes on only where the commit is as we left it    | test_limbo_ends_where_somebody_else_has_committed         |
| another member id drops everything (K7)                 | test_another_member_id_drops_everything                   |
| a partition not assigned any more is dropped            | test_a_partition_that_did_not_come_back_is_dropped        |
| only assigned partitions are restored                   | test_only_what_is_assigned_is_restored                    |
| an unreadable map stops its partition                   | test_an_unreadable_map_stops_its_partition                |
| counts and bytes pause everything, until half           | test_counts_and_bytes_pause_everything_until_half         |
| a full window pauses its partition, until half          | test_a_full_window_pauses_its_partition_until_half        |
| a wide window pauses its partition, until half          | test_a_wide_window_pauses_its_partition_until_half        |
| a round has a first result, and no more than its bounds | test_a_round_is_bounded_but_never_empty                   |
| a parked item waits until it is due, its key with it    | test_a_parked_item_and_its_key_wait_others_go_on          |
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.topology.tracker_world import (
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
from topology.errors import UnreadableMap
from topology.offset_map import SPAN_MAX, decode, encode
from topology.ports import Ownership
from topology.tracker import Tracker, TrackerLimits

# Order and work


def test_a_key_runs_one_at_a_time_and_in_order() -> None:
    tracker = owning(0)
    tracker.add([record(0, b"a"), record(1, b"a"), record(2, b"b"), record(3, b"a")])
    seen = list[int]()
    while items := tracker.next_to_start(10, 0.0):
        seen.extend(offsets(items))
        keys = [item.record.key for item in items]
        assert len(set(keys)) == len(keys)
        finish(tracker, *reversed(items))
    assert seen == [0, 2, 1, 3]
    assert answered(take(tracker)) == [(0, 2), (0, 0), (0, 1), (0, 3)]


def test_records_without_a_key_wait_for_nothing() -> None:
    tracker = owning(0)
    tracker.add([record(0, None), record(1, None), record(2, b""), record(3, b"")])
    assert offsets(tracker.next_to_start(10, 0.0)) == [0, 1, 2]


def test_partitions_take_turns() -> None:
    tracker = owning(0, 1)
    tracker.add([record(offset, None) for offset in range(100)])
    tracker.add([record(offset, None, partition=1) for offset in range(2)])
    started = [(item.record.partition, item.record.offset) for _ in range(4) for item in tracker.next_to_start(1, 0.0)]
    assert started == [(0, 0), (1, 0), (0, 1), (1, 1)]


def test_no_more_starts_than_asked_for() -> None:
    tracker = owning(0, 1)
    tracker.add([record(offset, None, partition=partition) for partition in (0, 1) for offset in range(10)])
    assert len(tracker.next_to_start(7, 0.0)) == 7
    assert tracker.running_count == 7
    assert len(tracker.next_to_start(100, 0.0)) == 13
    assert tracker.next_to_start(100, 0.0) == []


def test_a_parked_item_and_its_key_wait_others_go_on() -> None:
    tracker = owning(0)
    tracker.add([record(0, b"a"), record(1, b"a"), record(2, b"b")])
    items = start_all(tracker)
    assert tracker.park(items[0, 0], until_s=5.0)
    assert tracker.wake_s() == 5.0
    finish(tracker, items[0, 2])
    assert tracker.next_to_start(10, 4.9) == []
    (again,) = tracker.next_to_start(10, 5.0)
    assert (again.record.offset, again.attempt) == (0, 2)
    assert tracker.wake_s() is None
    finish(tracker, again)
    assert offsets(tracker.next_to_start(10, 5.0)) == [1]


def test_the_result_of_an_earlier_start_changes_nothing() -> None:
    tracker = owning(0)
    tracker.add([record(0)])
    first = start_all(tracker)[0, 0]
    tracker.park(first, 0.0)
    assert not tracker.finish(first, result(first))
    again = start_all(tracker)[0, 0]
    assert not tracker.is_live(first)
    assert not tracker.finish(first, result(first))
    assert not tracker.park(first, 0.0)
    assert tracker.finish(again, result(again))


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
        running += tracker.next_to_start(data.draw(st.integers(1, 4)), 0.0)
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


# Bounds


def test_a_window_never_holds_more_than_its_map_can_say() -> None:
    tracker = owning(0, limits=replace(WIDE, incomplete_max=3))
    tracker.add([record(offset, None) for offset in range(6)])
    assert sorted(offsets(tracker.next_to_start(100, 0.0))) == [0, 1, 2]
    (stats,) = tracker.stats().partitions
    assert (stats.incomplete_count, stats.backlog_count, stats.fill) == (3, 3, 1.0)


def test_what_waits_in_the_backlog_is_not_marked_done() -> None:
    tracker = owning(0, limits=replace(WIDE, incomplete_max=3))
    tracker.add([record(offset, None) for offset in range(6)])
    items = start_all(tracker)
    finish(tracker, *items.values())
    taken = take(tracker)
    assert taken.offsets == (position(3),)
    tracker.applied(taken)
    assert offsets(tracker.next_to_start(100, 0.0)) == [3, 4, 5]


def test_a_smaller_budget_makes_a_smaller_window() -> None:
    limits = replace(WIDE, map_chars_max=24)
    tracker = owning(0, limits=limits)
    tracker.add([record(16_385 * number, None) for number in range(20)])
    items = start_all(tracker)
    assert 1 <= len(items) < 5
    finish(tracker, items[0, 16_385 * (len(items) - 1)])
    assert len(take(tracker).offsets[0].metadata) <= 24


def test_a_window_is_never_wider_than_its_span() -> None:
    tracker = owning(0, start=7)
    tracker.add([record(7, None), record(8, None), record(8 + SPAN_MAX, None)])
    items = start_all(tracker)
    assert sorted(items) == [(0, 7), (0, 8)]
    assert tracker.paused() == {(TOPIC, 0)}
    finish(tracker, items[0, 8])
    tracker.applied(take(tracker))
    assert tracker.next_to_start(10, 0.0) == []
    finish(tracker, items[0, 7])
    tracker.applied(take(tracker))
    assert offsets(tracker.next_to_start(10, 0.0)) == [8 + SPAN_MAX]


def test_a_full_window_pauses_its_partition_until_half() -> None:
    tracker = owning(0, 1, limits=replace(WIDE, incomplete_max=4))
    tracker.add([record(offset, None) for offset in range(3)])
    assert not tracker.paused()
    tracker.add([record(3, None)])
    assert tracker.paused() == {(TOPIC, 0)}
    items = start_all(tracker)
    finish(tracker, items[0, 0])
    tracker.applied(take(tracker))
    assert tracker.paused() == {(TOPIC, 0)}
    finish(tracker, items[0, 1], items[0, 2])
    tracker.applied(take(tracker))
    assert not tracker.paused()


def test_a_wide_window_pauses_its_partition_until_half() -> None:
    tracker = owning(0, limits=replace(WIDE, span_max=100))
    tracker.add([record(0, None), record(60, None), record(99, None)])
    assert tracker.paused() == {(TOPIC, 0)}
    items = start_all(tracker)
    finish(tracker, items[0, 0])
    tracker.applied(take(tracker))
    assert not tracker.paused()
    tracker.add([record(130, None)])
    assert not tracker.paused()


@pytest.mark.parametrize("limits", [replace(WIDE, count_max=4), replace(WIDE, bytes_max=8)])
def test_counts_and_bytes_pause_everything_until_half(limits: TrackerLimits) -> None:
    tracker = owning(0, 1, limits=limits)
    tracker.add([record(offset, None) for offset in range(3)])
    assert not tracker.paused()
    tracker.add([record(3, None)])
    everything = {(TOPIC, 0), (TOPIC, 1)}
    assert tracker.paused() == everything
    items = start_all(tracker)
    for count, expected in ((1, everything), (1, set())):
        for _ in range(count):
            _, item = items.popitem()
            tracker.finish(item, replace(result(item), records=()))
        tracker.applied(take(tracker))
        assert tracker.paused() == expected


# Ownership


@pytest.mark.parametrize("change", [{"generation": -1}, {"member_id": ""}, {"generation": -1, "member_id": ""}])
def test_nothing_is_taken_without_a_membership(change: dict[str, object]) -> None:
    """K5: even where that was what had been assigned."""
    nobody = replace(member(), **change)
    tracker = owning(0, ownership=nobody)
    tracker.add([record(0)])
    finish(tracker, start_all(tracker)[0, 0])
    assert tracker.take(nobody, 10, 10) is None


@pytest.mark.parametrize("other", [member(2), member(1, "m2"), replace(member(), instance_id=None)])
def test_nothing_is_taken_under_another_membership(other: Ownership) -> None:
    tracker = owning(0)
    tracker.add([record(0)])
    finish(tracker, start_all(tracker)[0, 0])
    assert tracker.take(other, 10, 10) is None
    assert answered(take(tracker)) == [(0, 0)]


def test_what_finishes_under_a_dead_token_changes_nothing() -> None:
    """A revoke and a new assignment between start and finish: the same offset runs again, under another token."""
    tracker = owning(0)
    tracker.add([record(0), record(1, b"b")])
    old = start_all(tracker)
    tracker.assign(member(2, "m2"), [(TOPIC, 0)])
    tracker.restore(position(0))
    tracker.add([record(0), record(1, b"b")])
    new = start_all(tracker)
    assert not tracker.is_live(old[0, 0])
    assert not tracker.finish(old[0, 0], result(old[0, 0]))
    # Were only the offset compared, a start of the same number in another tracker would pass.
    foreign = replace(new[0, 0], token=old[0, 0].token)
    assert not tracker.finish(foreign, result(foreign))
    assert not tracker.park(foreign, 1.0)
    assert tracker.ready_count == 0
    assert tracker.finish(new[0, 0], result(new[0, 0]))


def test_another_member_id_drops_everything() -> None:
    """K7: even where the partition came back and nobody has committed."""
    tracker = owning(0)
    tracker.add([record(0)])
    finish(tracker, start_all(tracker)[0, 0])
    tracker.revoke([(TOPIC, 0)])
    assert tracker.assign(member(2, "m2"), [(TOPIC, 0)]) == [(TOPIC, 0)]
    assert tracker.restore(position(0)) == 0
    assert tracker.held_count == 0
    assert tracker.take(member(2, "m2"), 10, 10) is None


def test_in_limbo_results_are_kept_and_nothing_is_taken() -> None:
    tracker = owning(0, 1)
    tracker.add([record(0, None), record(1, None), record(2, b"k"), record(3, b"k")])
    tracker.add([record(0, None, partition=1)])
    items = start_all(tracker)
    finish(tracker, items[0, 0])
    tracker.revoke([(TOPIC, 0)])
    finish(tracker, items[0, 1], items[1, 0], items[0, 2])
    assert tracker.next_to_start(10, 0.0) == []
    taken = take(tracker)
    assert answered(taken) == [(1, 0)]
    assert [at.partition for at in taken.offsets] == [1]
    tracker.applied(taken)
    tracker.assign(member(2), [(TOPIC, 0)])
    assert tracker.restore(position(0)) == 4
    assert answered(take(tracker, member(2))) == [(0, 0), (0, 1), (0, 2)]
    assert offsets(tracker.next_to_start(10, 0.0)) == [3]


def test_in_limbo_no_position_is_committed() -> None:
    """Not even one that moved over a gap."""
    tracker = owning(0, 1)
    tracker.add([record(3), record(0, partition=1)])
    tracker.revoke([(TOPIC, 0)])
    finish(tracker, start_all(tracker)[1, 0])
    assert [at.partition for at in take(tracker).offsets] == [1]


def test_an_assignment_puts_in_limbo_what_was_not_revoked() -> None:
    tracker = owning(0)
    tracker.add([record(0)])
    finish(tracker, start_all(tracker)[0, 0])
    tracker.assign(member(2), [(TOPIC, 0)])
    assert tracker.take(member(2), 10, 10) is None
    assert tracker.add([record(1)]) == 0
    tracker.restore(position(0))
    assert answered(take(tracker, member(2))) == [(0, 0)]


def test_in_limbo_nothing_is_accepted() -> None:
    tracker = owning(0)
    tracker.revoke([(TOPIC, 0)])
    assert tracker.add([record(0)]) == 0
    tracker.assign(member(2), [(TOPIC, 0)])
    assert tracker.restore(position(0)) == 0
    assert tracker.add([record(0)]) == 1


def test_limbo_ends_where_somebody_else_has_committed() -> None:
    """A generation in which another member owned the partition may have passed unseen."""
    tracker = owning(0)
    tracker.add([record(0, None), record(1, None), record(2, None)])
    items = start_all(tracker)
    finish(tracker, items[0, 1])
    tracker.revoke([(TOPIC, 0)])
    tracker.assign(member(3), [(TOPIC, 0)])
    assert tracker.restore(position(0, encode(0, 3, [0, 2]))) == 0
    assert not tracker.is_live(items[0, 0])
    assert tracker.take(member(3), 10, 10) is None
    assert tracker.add([record(offset, None) for offset in range(3)]) == 2


def test_a_suspended_partition_starts_nothing_and_commits() -> None:
    tracker = owning(0)
    tracker.add([record(0, None), record(1, None)])
    (item,) = tracker.next_to_start(1, 0.0)
    tracker.suspend([(TOPIC, 0)])
    assert tracker.next_to_start(1, 0.0) == []
    finish(tracker, item)
    assert answered(take(tracker)) == [(0, 0)]


def test_a_partition_that_did_not_come_back_is_dropped() -> None:
    tracker = owning(0, 1)
    tracker.add([record(0), record(0, partition=1)])
    items = start_all(tracker)
    tracker.revoke([(TOPIC, 0), (TOPIC, 1)])
    assert tracker.assign(member(2), [(TOPIC, 1)]) == [(TOPIC, 1)]
    tracker.restore(position(0, partition=1))
    assert not tracker.is_live(items[0, 0])
    assert tracker.is_live(items[1, 0])
    assert tracker.held_count == 1


def test_ready_results_of_a_lost_partition_are_not_taken() -> None:
    tracker = owning(0, 1)
    tracker.add([record(0), record(0, partition=1)])
    finish(tracker, *start_all(tracker).values())
    tracker.assign(member(2), [(TOPIC, 1)])
    tracker.restore(position(0, partition=1))
    assert tracker.ready_count == 1
    assert answered(take(tracker, member(2))) == [(1, 0)]


def test_a_parked_item_of_a_lost_partition_never_starts() -> None:
    tracker = owning(0, 1)
    tracker.add([record(0), record(0, partition=1)])
    for item in start_all(tracker).values():
        tracker.park(item, 1.0)
    tracker.assign(member(2), [(TOPIC, 1)])
    tracker.restore(position(0, partition=1))
    assert tracker.stats().parked_count == 1
    assert [item.record.partition for item in tracker.next_to_start(10, 2.0)] == [1]


def test_a_round_that_ends_after_its_partition_was_lost() -> None:
    """The new owner's window, of the same worker, keeps what it has."""
    tracker = owning(0)
    tracker.add([record(0, None), record(1, None)])
    finish(tracker, start_all(tracker)[0, 0])
    old = take(tracker)
    tracker.assign(member(2, "m2"), [(TOPIC, 0)])
    tracker.restore(position(0))
    tracker.add([record(0, None), record(1, None)])
    finish(tracker, *start_all(tracker).values())
    tracker.applied(old)
    new = take(tracker, member(2, "m2"))
    assert answered(new) == [(0, 0), (0, 1)]
    assert tracker.stats().partitions[0].committed_offset == 0


def test_what_was_aborted_and_lost_is_not_taken_again() -> None:
    tracker = owning(0, 1)
    tracker.add([record(0), record(0, partition=1)])
    finish(tracker, *start_all(tracker).values())
    old = take(tracker)
    tracker.assign(member(2), [(TOPIC, 1)])
    tracker.restore(position(0, partition=1))
    tracker.aborted(old)
    assert answered(take(tracker, member(2))) == [(1, 0)]


def test_everything_lost_is_forgotten() -> None:
    tracker = owning(0)
    tracker.add([record(0)])
    items = start_all(tracker)
    tracker.lost()
    assert (tracker.held_count, tracker.ownership) == (0, None)
    assert not tracker.finish(items[0, 0], result(items[0, 0]))
    assert tracker.take(member(), 10, 10) is None
    assert tracker.add([record(0)]) == 0


def test_only_what_is_assigned_is_restored() -> None:
    tracker = owning(0)
    with pytest.raises(ValueError, match="not assigned"):
        tracker.restore(position(0, partition=1))
    tracker.lost()
    with pytest.raises(ValueError, match="not assigned"):
        tracker.restore(position(0))


def test_an_unreadable_map_stops_its_partition() -> None:
    tracker = Tracker(WIDE)
    tracker.assign(member(), [(TOPIC, 0), (TOPIC, 1)])
    with pytest.raises(UnreadableMap):
        tracker.restore(position(0, "g9.AAAA"))
    tracker.restore(position(0, partition=1))
    assert tracker.add([record(0), record(0, partition=1)]) == 1
    assert tracker.paused() == {(TOPIC, 0)}
    assert tracker.stats().stopped == ((TOPIC, 0),)
    tracker.assign(member(2), [(TOPIC, 0)])
    tracker.restore(position(0))
    assert not tracker.paused()


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
