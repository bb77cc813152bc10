"""Fixed windows of time, and a partition's part of a limit. The clock is an argument."""

from topology.contract.tenants import Counted
from topology.policy.budgets import Window

WINDOW_MS = {Window.MINUTE: 60_000, Window.HOUR: 3_600_000, Window.DAY: 86_400_000}


def start_of(window: Window, now_ms: int) -> int:
    """Return the start of the window (UTC) that contains `now_ms`."""
    return now_ms - now_ms % WINDOW_MS[window]


def rolled(counted: Counted, window: Window, now_ms: int) -> Counted:
    """Return the counts of the window at `now_ms`: those so far, or new ones if a later window has begun.

    A window never ends early: if the clock went back, or the worker before had a faster one, its counts go on.
    """
    start_ms = start_of(window, now_ms)
    return counted if start_ms <= counted.start_ms else Counted(start_ms=start_ms)


def wait_ms(counted: Counted, window: Window, now_ms: int) -> int:
    """Return the time until the window of `counted` ends, at least 1."""
    return max(1, counted.start_ms + WINDOW_MS[window] - now_ms)


def part_of(limit: int, partition: int, partition_count: int) -> int:
    """Return a partition's part of a limit: all parts together are the limit, but no part of a limit above 0 is 0."""
    part = limit * (partition + 1) // partition_count - limit * partition // partition_count
    return max(part, min(limit, 1))
