"""Half-open ranges [start, end) of characters, joined where they overlap."""

from collections.abc import Iterable


def joined(intervals: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the fewest intervals that cover the same characters, in order; those that touch become one.

    Empty intervals are left out.
    """
    found: list[tuple[int, int]] = []
    for start, end in sorted(intervals):
        if start >= end:
            continue
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found
