"""The gauge of partitions that stand still: what counts as moving, and that no rebalance clears it."""

from typing import Any

from topology.delivery.partition_window import PartitionStats
from workers.stream.standstill import Standstill

A, B = ("in", 0), ("in", 1)


class Shown:
    """Instruments that keep the gauge."""

    def __init__(self) -> None:
        self.values: dict[int, float] = {}

    def gauge_set(self, _: str, value: float, *, topic: str, partition: str) -> None:
        assert topic == "in"
        self.values[int(partition)] = value


def _window(partition: int = 0, committed: int = 0, waiting: int = 0, committed_map: str = "") -> PartitionStats:
    return PartitionStats(
        topic="in",
        partition=partition,
        base=committed,
        next=committed + waiting,
        committed_offset=committed,
        incomplete_count=waiting,
        backlog_count=0,
        fill=0.0,
        oldest_timestamp_ms=None,
        map_chars=len(committed_map),
        unread_from=committed + waiting,
        committed_map=committed_map,
    )


def _made() -> tuple[Standstill, dict[int, float]]:
    shown: Any = Shown()
    return Standstill(shown), shown.values


def test_a_partition_that_is_read_to_its_end_does_not_stand_still() -> None:
    standstill, values = _made()
    for now_s in (0.0, 100.0, 200.0):
        standstill.look(now_s, {A}, [_window()], {A})
        assert values == {0: 0.0}


def test_an_empty_window_counts_only_while_the_brokers_say_that_there_is_nothing() -> None:
    standstill, values = _made()
    standstill.look(0.0, {A}, [_window()], {A})
    standstill.look(100.0, {A}, [_window()], set())
    assert values == {0: 100.0}


def test_every_commit_moves_a_partition_also_one_above_the_lowest_offset() -> None:
    standstill, values = _made()
    standstill.look(0.0, {A}, [_window(waiting=3)], set())
    standstill.look(100.0, {A}, [_window(waiting=3)], {A})
    assert values == {0: 100.0}
    standstill.look(200.0, {A}, [_window(waiting=2, committed_map="g1.x")], set())
    assert values == {0: 0.0}
    standstill.look(300.0, {A}, [_window(waiting=2, committed_map="g1.x")], set())
    assert values == {0: 100.0}
    standstill.look(400.0, {A}, [_window(committed=3)], set())
    assert values == {0: 0.0}


def test_a_partition_without_a_window_stands_still() -> None:
    standstill, values = _made()
    standstill.look(0.0, {A, B}, [_window()], {A, B})
    standstill.look(50.0, {A, B}, [_window()], {A, B})
    assert values == {0: 0.0, 1: 50.0}


def test_without_a_membership_every_partition_stands_still() -> None:
    standstill, values = _made()
    standstill.look(0.0, {A}, [_window()], {A})
    standstill.look(60.0, None, [_window()], {A})
    assert values == {0: 60.0}


def test_a_partition_that_went_to_another_member_is_that_ones_to_count() -> None:
    standstill, values = _made()
    standstill.look(0.0, {A, B}, [], set())
    standstill.look(60.0, {B}, [_window(1)], {B})
    standstill.look(120.0, {B}, [_window(1)], {B})
    assert values == {0: 0.0, 1: 0.0}
