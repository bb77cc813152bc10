"""Joining ranges of characters: the same characters, in the fewest ranges, in any order."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topology.contract.measures.intervals import joined

Intervals = list[tuple[int, int]]

_INTERVALS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)))


def characters_of(intervals: Intervals) -> set[int]:
    return {position for start, end in intervals for position in range(start, end)}


@pytest.mark.parametrize(
    ("given_intervals", "expected"),
    [
        ([], []),
        ([(3, 5), (0, 1)], [(0, 1), (3, 5)]),
        ([(0, 3), (2, 5)], [(0, 5)]),
        ([(0, 3), (3, 5)], [(0, 5)]),
        ([(0, 9), (2, 5), (8, 9)], [(0, 9)]),
        ([(4, 4), (6, 5), (1, 2)], [(1, 2)]),
    ],
    ids=["none", "apart", "overlapping", "touching", "inside", "empty"],
)
def test_joined(given_intervals: Intervals, expected: Intervals) -> None:
    assert joined(given_intervals) == expected


@given(_INTERVALS)
def test_the_same_characters_are_covered_with_a_gap_between_neighbours(intervals: Intervals) -> None:
    result = joined(intervals)
    assert characters_of(result) == characters_of(intervals)
    assert all(start < end for start, end in result)
    assert all(before[1] < after[0] for before, after in pairwise(result))


@given(_INTERVALS)
def test_the_order_does_not_matter(intervals: Intervals) -> None:
    assert joined(reversed(intervals)) == joined(intervals)
