"""Deadlines go by the records' own time where the worker's clock disagrees with it, and by the worker's otherwise."""

import pytest

from topology.load.record_clock import SAMPLES, RecordClock

NOW_MS = 1_767_225_600_000
HOUR_MS = 3_600_000


def clock_after(*ahead_ms: int) -> RecordClock:
    """Read fresh records while the worker's clock is ahead by so much."""
    clock = RecordClock(30)
    for ahead in ahead_ms:
        clock.read(NOW_MS, NOW_MS + ahead, is_fresh=True)
    return clock


@pytest.mark.parametrize("ahead_ms", [50 * 60_000, 2 * HOUR_MS, -HOUR_MS, -48 * HOUR_MS])
def test_a_jump_is_noticed_and_no_record_is_older_for_it(ahead_ms: int) -> None:
    clock = clock_after(5, 5, 5)
    assert not clock.disagrees
    read = [clock.read(NOW_MS, NOW_MS + ahead_ms, is_fresh=True) for _ in range(SAMPLES)]
    assert read == [NOW_MS] * SAMPLES, "the first one too"
    assert clock.disagrees
    assert clock.skew_s == ahead_ms / 1000
    assert clock.read(NOW_MS - 10_000, NOW_MS + ahead_ms, is_fresh=False) == NOW_MS, "it waited ten seconds"


def test_a_backlog_says_nothing_of_the_clock() -> None:
    clock = clock_after(5, 5, 5)
    for _ in range(100):
        assert clock.read(NOW_MS - HOUR_MS, NOW_MS, is_fresh=False) == NOW_MS
    assert not clock.disagrees


def test_one_sender_with_a_wrong_clock_does_not_move_the_worker() -> None:
    clock = clock_after(*([5] * 10), HOUR_MS, -HOUR_MS, 5)
    assert not clock.disagrees
    assert clock.read(NOW_MS, NOW_MS + 20, is_fresh=False) == NOW_MS + 20


def test_a_record_without_a_time_was_read_now() -> None:
    clock = RecordClock(30)
    assert clock.read(0, NOW_MS, is_fresh=True) == NOW_MS
    assert clock.read(-1, NOW_MS, is_fresh=True) == NOW_MS
    assert clock.skew_s == 0
