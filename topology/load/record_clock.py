"""The worker's wall clock beside the times of the records that it reads. Pure.

A record that has just been written is as old as its way here, whatever its time says; and none is from the future. So
these tell how far the two clocks are apart. The age of any other record says nothing: it may have waited in Kafka.
"""

from collections import deque
from statistics import median

SAMPLES = 15
"""The latest differences that count, by their median: one sender with a wrong clock does not move it."""

SAMPLES_MIN = 3


class RecordClock:
    """The difference between two clocks, and what a worker's clock would say if it agreed with the records' times."""

    def __init__(self, skew_max_s: float) -> None:
        self._skew_max_ms = skew_max_s * 1000
        self._ahead_ms: deque[int] = deque(maxlen=SAMPLES)

    @property
    def skew_s(self) -> float:
        """Return how far the worker's clock is ahead of the records' times; negative: behind; 0 until it is known."""
        return median(self._ahead_ms) / 1000 if len(self._ahead_ms) >= SAMPLES_MIN else 0.0

    @property
    def disagrees(self) -> bool:
        """Return whether the clocks are further apart than they may be."""
        return abs(self.skew_s) * 1000 > self._skew_max_ms

    def read(self, timestamp_ms: int, now_ms: int, *, is_fresh: bool) -> int:
        """Return when a record was read, on its own clock; `is_fresh`: it was written after the last look."""
        if timestamp_ms <= 0:  # it has none
            return now_ms
        ahead_ms = now_ms - timestamp_ms
        if is_fresh or (ahead_ms < 0 and not self.disagrees):
            self._ahead_ms.append(ahead_ms)
            return timestamp_ms if abs(ahead_ms) > self._skew_max_ms else now_ms
        return now_ms - round(self.skew_s * 1000) if self.disagrees else now_ms
