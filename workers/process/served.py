"""The service of what one thread does now, looked at from other threads."""

import threading
import time
from collections.abc import Callable

from topology.load.service_time import Clocks, ServiceTime


def clocks_of(thread: int) -> Clocks | None:
    """Return the clocks of a thread of this process by the identity of its CPU clock; None if it has ended."""
    try:
        thread_s = time.clock_gettime(thread)
    except OSError:
        return None
    return Clocks(wall_s=time.monotonic(), thread_s=thread_s, process_s=time.process_time())


ClocksOf = Callable[[int], Clocks | None]


class Served:
    """What a thread serves. The thread calls `begin` and `end`, others look."""

    def __init__(self, clocks: ClocksOf = clocks_of) -> None:
        self._clocks = clocks
        self._service: tuple[int, ServiceTime] | None = None

    def begin(self) -> None:
        """Note that a service begins now, on this thread; it takes the place of the last one."""
        thread = time.pthread_getcpuclockid(threading.get_ident())
        now = self._clocks(thread)
        assert now is not None, "this thread has not ended"
        self._service = thread, ServiceTime(now)

    def end(self) -> None:
        """Note that nothing is served."""
        self._service = None

    def time_s(self) -> float:
        """Return the time of the present service so far; 0 if there is none."""
        looked = self._look()
        return 0.0 if looked is None else looked[0].at(looked[1])

    def is_hanging(self, limit_s: float) -> bool:
        """Return whether the present service is blocked or passed the last bound, rather than slow."""
        looked = self._look()
        return looked is not None and looked[0].is_hanging(looked[1], limit_s)

    def _look(self) -> tuple[ServiceTime, Clocks] | None:
        if (present := self._service) is None:
            return None
        thread, service = present
        now = self._clocks(thread)
        return None if now is None else (service, now)
