"""A line lets the earliest deadline go first, and only those leave it who cannot be in time."""

from hypothesis import given
from hypothesis import strategies as st

from topology.load.line import Line


class Waiter:
    def __init__(self, deadline_s: float) -> None:
        self.deadline_s = deadline_s
        self.is_gone = False


def line_of(*deadlines: float) -> tuple[Line[Waiter], list[Waiter]]:
    line: Line[Waiter] = Line(10_000, lambda waiter: waiter.is_gone)
    waiters = [Waiter(deadline_s) for deadline_s in deadlines]
    for waiter in waiters:
        line.add(waiter, waiter.deadline_s)
    return line, waiters


@given(st.lists(st.integers(0, 20), max_size=30))
def test_the_earliest_deadline_goes_first_and_of_equal_ones_the_first_that_came(deadlines: list[int]) -> None:
    line, waiters = line_of(*deadlines)
    taken: list[Waiter] = []
    while (first := line.first()) is not None:
        assert line.take() is first
        taken.append(first)
    assert taken == sorted(waiters, key=lambda waiter: waiter.deadline_s)


@given(st.lists(st.integers(0, 20), max_size=30), st.integers(0, 20))
def test_exactly_those_who_cannot_be_in_time_leave(deadlines: list[int], ready_s: int) -> None:
    line, waiters = line_of(*deadlines)
    late = line.take_late(ready_s)
    assert sorted(map(id, late)) == sorted(id(waiter) for waiter in waiters if waiter.deadline_s < ready_s)
    assert len(line) == len(waiters) - len(late)


def test_nobody_waits_for_who_is_gone() -> None:
    line, (first, second, third) = line_of(1, 2, 3)
    first.is_gone = second.is_gone = True
    assert line.take_late(1.5) == []
    assert line.first() is third
    assert line.clear() == [third]
    assert line.first() is None
