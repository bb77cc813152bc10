"""Fixed windows, and a partition's part of a limit."""

from hypothesis import given
from hypothesis import strategies as st

from topology.contract.tenants import Counted
from topology.policy.budgets import Window
from topology.tenants.windows import WINDOW_MS, part_of, rolled, start_of, wait_ms

NOON_MS = 1_760_000_000_000 - 1_760_000_000_000 % 86_400_000 + 12 * 3_600_000


def test_a_window_begins_with_its_minute_hour_or_day() -> None:
    assert start_of(Window.MINUTE, NOON_MS + 61_000) == NOON_MS + 60_000
    assert start_of(Window.HOUR, NOON_MS + 61_000) == NOON_MS
    assert start_of(Window.DAY, NOON_MS + 61_000) == NOON_MS - 12 * 3_600_000


def test_counts_begin_anew_with_the_next_window() -> None:
    counted = Counted(start_ms=NOON_MS, events=5, tokens=7)
    assert rolled(counted, Window.MINUTE, NOON_MS + 59_999) is counted
    assert rolled(counted, Window.MINUTE, NOON_MS + 60_000) == Counted(start_ms=NOON_MS + 60_000)


def test_a_clock_that_went_back_does_not_empty_a_window() -> None:
    counted = Counted(start_ms=NOON_MS, events=5)
    assert rolled(counted, Window.HOUR, NOON_MS - 1) is counted
    assert wait_ms(counted, Window.HOUR, NOON_MS - 1) == WINDOW_MS[Window.HOUR] + 1


def test_the_wait_is_never_nothing() -> None:
    assert wait_ms(Counted(start_ms=NOON_MS), Window.MINUTE, NOON_MS + 59_000) == 1_000
    assert wait_ms(Counted(start_ms=NOON_MS), Window.MINUTE, NOON_MS + 99_000) == 1


@given(st.integers(0, 10_000), st.integers(1, 200))
def test_the_parts_of_a_limit_are_the_limit(limit: int, count: int) -> None:
    parts = [part_of(limit, partition, count) for partition in range(count)]
    assert max(parts) - min(parts) <= 1
    assert sum(parts) == (limit if limit >= count or not limit else count)
