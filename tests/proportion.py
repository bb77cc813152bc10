"""A check that work on a text grows in proportion to the text, without a bound in seconds."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T", str, bytes)

PARTS = 4

RATIO_MAX = 2.0
"""The most that the whole may take of its four quarters' time: 1 where work is linear, 4 where it is quadratic."""

TRIES = 3
CPU_MIN_S = 0.005
"""Less than this is noise of the clock."""


def is_in_proportion(work: Callable[[T], object], text: T) -> bool:
    """Return whether `work` on the whole text takes at most twice as long as four times over its first quarter.

    The CPU time of this process is measured, so a busy machine changes nothing; the best of three tries counts.
    """
    quarter = text[: len(text) // PARTS]
    for _ in range(TRIES):
        started = time.process_time()
        for _ in range(PARTS):
            work(quarter)
        between = time.process_time()
        work(text)
        if time.process_time() - between <= RATIO_MAX * max(between - started, CPU_MIN_S):
            return True
    return False
