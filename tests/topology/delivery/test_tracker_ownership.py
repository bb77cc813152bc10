"""The tracker: who owns what, and what becomes of work when that changes.

Each guard, and the test that fails where it is taken out (every row was tried):

| guard                                                   | test                                                      |
|---------------------------------------------------------|-----------------------------------------------------------|
| a window has a token (I12)                              | test_what_finishes_under_a_dead_token_changes_nothing     |
| an ownership without generation or member takes nothing | test_nothing_is_taken_without_a_membership                |
| only the membership assigned last takes (I5)            | test_nothing_is_taken_under_another_membership            |
| aborted results of a lost partition are dropped         | test_what_was_aborted_and_lost_is_not_taken_again         |
| a round of a dead window is not applied                 | test_a_round_that_ends_after_its_partition_was_lost       |
| ready results of a lost partition are dropped           | test_ready_results_of_a_lost_partition_are_not_taken      |
| suspended: nothing starts, results are taken            | test_a_suspended_partition_starts_nothing_and_commits     |
| suspended: a position found before leaves it so         | test_a_position_found_before_does_not_end_a_suspension    |
| suspended: what is in limbo stays there                 | test_what_is_in_limbo_is_not_taken_before_it_is_revoked   |
| limbo: nothing starts, nothing is taken, results stay   | test_in_limbo_results_are_kept_and_nothing_is_taken       |
| limbo: no position is committed                         | test_in_limbo_no_position_is_committed                    |
| limbo: nothing is accepted                              | test_in_limbo_nothing_is_accepted                         |
| an assignment is limbo until restored                   | test_an_assignment_puts_in_limbo_what_was_not_revoked     |
| limbo goes on only where the commit is as we left it    | test_limbo_ends_where_somebody_else_has_committed         |
| another member id drops everything (K7)                 | test_another_member_id_drops_everything                   |
| a partition not assigned any more is dropped            | test_a_partition_that_did_not_come_back_is_dropped        |
| only assigned partitions are restored                   | test_only_what_is_assigned_is_restored                    |
| an unreadable map stops its partition                   | test_an_unreadable_map_stops_its_partition                |
"""

import pytest
from msgspec.structs import replace

from tests.topology.delivery.tracker_world import (
    TOPIC,
    WIDE,
    answered,
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
from topology.contract.errors import UnreadableMap
from topology.contract.records import Ownership, PartitionOffset
from topology.delivery.offset_map import encode
from topology.delivery.tracker import Tracker


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
    # Were only the offset compared, this one would pass.
    foreign = replace(new[0, 0], token=old[0, 0].token)
    assert not tracker.finish(foreign, result(foreign))
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
    assert tracker.next_to_start(10) == []
    taken = take(tracker)
    assert answered(taken) == [(1, 0)]
    assert [at.partition for at in taken.offsets] == [1]
    tracker.applied(taken)
    tracker.assign(member(2), [(TOPIC, 0)])
    assert tracker.restore(position(0)) == 4
    assert answered(take(tracker, member(2))) == [(0, 0), (0, 1), (0, 2)]
    assert offsets(tracker.next_to_start(10)) == [3]


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
    (item,) = tracker.next_to_start(1)
    tracker.suspend([(TOPIC, 0)])
    assert tracker.next_to_start(1) == []
    finish(tracker, item)
    assert answered(take(tracker)) == [(0, 0)]


@pytest.mark.parametrize("at", [position(0), position(1)])
def test_a_position_found_before_does_not_end_a_suspension(at: PartitionOffset) -> None:
    """It was asked for before the group began to rebalance, and is used after."""
    tracker = owning(0)
    tracker.add([record(0)])
    tracker.suspend([(TOPIC, 0)])
    tracker.restore(at)
    assert tracker.add([record(1)]) == 0
    assert tracker.next_to_start(1) == []
    tracker.assign(member(2), [(TOPIC, 0)])
    tracker.restore(at)
    assert tracker.add([record(1)]) == 1


def test_what_is_in_limbo_is_not_taken_before_it_is_revoked() -> None:
    """Assigned again, revoked again before its position was found: another member may have answered it meanwhile."""
    tracker = owning(0)
    tracker.add([record(0)])
    finish(tracker, *start_all(tracker).values())
    tracker.assign(member(3), [(TOPIC, 0)])
    tracker.suspend([(TOPIC, 0)])
    assert tracker.take(member(3), 10, 1 << 20) is None


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
