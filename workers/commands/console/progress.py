"""Long work: its progress is reported every few seconds, its rate is limited, and Ctrl-C stops it between two steps."""

import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

SILENCE_S = 2.0
"""The time before the first report, and between two reports."""


class Progress:
    """A reporter of progress. It reports at most every SILENCE_S, and nothing of shorter work."""

    def __init__(
        self, say: Callable[[str], object], what: str, *, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._say = say
        self._what = what
        self._monotonic_s = monotonic_s
        self._said_s = monotonic_s()

    def at(self, count: int, total: int | None = None) -> None:
        """Report that `count` are done, of `total`; None if the total is not known."""
        now_s = self._monotonic_s()
        if now_s - self._said_s >= SILENCE_S:
            self._said_s = now_s
            self._say(f"{self._what}: {count}" if total is None else f"{self._what}: {count} of {total}")


class Pace:
    """A limit of `rate` pieces per second on average; None: no limit. `wait` may return early, to stop the work."""

    def __init__(
        self,
        rate: float | None,
        wait: Callable[[float], object],
        *,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate = rate
        self._wait = wait
        self._monotonic_s = monotonic_s
        self._started_s = monotonic_s()
        self._count = 0

    def pieces_max(self, pieces_max: int) -> int:
        """Return how many pieces one step may do: at most those of one second, at least one."""
        return pieces_max if self._rate is None else max(1, min(pieces_max, int(self._rate)))

    def after(self, count: int) -> None:
        """Count `count` more pieces, and wait until they are due."""
        if self._rate is None:
            return
        self._count += count
        ahead_s = self._started_s + self._count / self._rate - self._monotonic_s()
        if ahead_s > 0:
            self._wait(ahead_s)


@contextmanager
def stopped_by_signals() -> Generator[threading.Event]:
    """Yield an event that the first SIGINT or SIGTERM sets; a second SIGINT ends the command at once, as usual."""
    stop = threading.Event()

    def ask_to_stop(number: int, _frame: FrameType | None) -> None:
        stop.set()
        signal.signal(number, before[number])

    before = {int(number): signal.signal(number, ask_to_stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
