"""The tracker: what is never exceeded, and what is paused before it would be.

Each guard, and the test that fails where it is taken out (every row was tried):

| guard                                                   | test                                                      |
|---------------------------------------------------------|-----------------------------------------------------------|
| records of the backlog are above `next` (I8)            | test_what_waits_in_the_backlog_is_not_marked_done         |
| incomplete_max (I6, I9)                                 | test_a_window_never_holds_more_than_its_map_can_say       |
| the map's budget lowers incomplete_max (I6)             | test_a_smaller_budget_makes_a_smaller_window              |
| span_max (I6), and a backlog pauses                     | test_a_window_is_never_wider_than_its_span                |
| what the map lists is read whatever the bounds          | test_what_the_map_lists_is_read_however_full_that_makes_… |
| counts and bytes pause everything, until half           | test_counts_and_bytes_pause_everything_until_half         |
| a full window pauses its partition, until half          | test_a_full_window_pauses_its_partition_until_half        |
| a wide window pauses its partition, until half          | test_a_wide_window_pauses_its_partition_until_half        |
"""

import pytest
from msgspec.structs import replace

from tests.topology.delivery.tracker_world import (
    TOPIC,
    WIDE,
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
from topology.delivery.offset_map import SPAN_MAX, encode
from topology.delivery.tracker import Tracker, TrackerLimits


def test_a_window_never_holds_more_than_its_map_can_say() -> None:
    tracker = owning(0, limits=replace(WIDE, incomplete_max=3))
    tracker.add([record(offset, None) for offset in range(6)])
    assert sorted(offsets(tracker.next_to_start(100))) == [0, 1, 2]
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
    assert offsets(tracker.next_to_start(100)) == [3, 4, 5]


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
    assert tracker.next_to_start(10) == []
    finish(tracker, items[0, 7])
    tracker.applied(take(tracker))
    assert offsets(tracker.next_to_start(10)) == [8 + SPAN_MAX]


def test_a_bound_on_what_is_held_may_be_lower_for_now() -> None:
    tracker = owning(0, limits=replace(WIDE, count_max=100))
    tracker.add([record(offset, None) for offset in range(4)])
    assert not tracker.paused()
    assert tracker.paused(4)
    assert tracker.paused(7), "until half of it"
    assert not tracker.paused(8)
    assert not tracker.paused(1000)
    assert tracker.paused(4)
    assert not tracker.paused(4, 2), "what waits for a model does not count, before it was full and since"


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


@pytest.mark.parametrize("limits", [replace(WIDE, incomplete_max=2), replace(WIDE, span_max=8)])
def test_what_the_map_lists_is_read_however_full_that_makes_the_window(limits: TrackerLimits) -> None:
    """A pause would last for ever: only reading them makes room."""
    tracker = Tracker(limits)
    tracker.assign(member(), [(TOPIC, 0)])
    tracker.restore(position(0, encode(0, 8, [0, 5])))
    assert not tracker.paused()
    tracker.add([record(0, None)])
    assert not tracker.paused()
    tracker.add([record(5, None)])
    assert tracker.paused() == {(TOPIC, 0)}


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
