"""How work that takes a while goes on: said every few seconds, held to a rate, ended between two steps by Ctrl-C."""

import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

SILENCE_S = 2.0
"""Nothing is said of what takes less, and no more often than this of what takes longer."""


class Progress:
    """Says how far it came, at most every SILENCE_S and never before."""

    def __init__(
        self, say: Callable[[str], object], what: str, *, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._say = say
        self._what = what
        self._monotonic_s = monotonic_s
        self._said_s = monotonic_s()

    def at(self, count: int, total: int | None = None) -> None:
        """`count` are done, of `total`; None where nobody knows of how many."""
        now_s = self._monotonic_s()
        if now_s - self._said_s >= SILENCE_S:
            self._said_s = now_s
            self._say(f"{self._what}: {count}" if total is None else f"{self._what}: {count} of {total}")


class Pace:
    """Holds work to `rate` pieces a second on average; None: as fast as it goes. `wait` may return early, to stop."""

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
        """How many pieces may be done in one step: no more than one second's worth, at least one."""
        return pieces_max if self._rate is None else max(1, min(pieces_max, int(self._rate)))

    def after(self, count: int) -> None:
        """`count` more are done: wait until they were due."""
        if self._rate is None:
            return
        self._count += count
        ahead_s = self._started_s + self._count / self._rate - self._monotonic_s()
        if ahead_s > 0:
            self._wait(ahead_s)


@contextmanager
def stopped_by_signals() -> Generator[threading.Event]:
    """An event that the first SIGINT or SIGTERM sets; a second SIGINT ends the command at once, as usual."""
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
