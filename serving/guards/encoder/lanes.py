"""The threads on which requests are labelled: one lane for ordinary texts, and one of its own for long ones.

So an ordinary request never waits behind a long one. The lane of long texts is one thread, and so many may wait for it.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from topology.contract.errors import CheckFailed
from topology.contract.labels import Outcome

LONG_WAITING_MAX = 8
"""The long texts of one lane that run or wait; another one is answered as overload."""

T = TypeVar("T")


class Lanes:
    """Two pools of threads. `threads` are those of ordinary texts."""

    def __init__(self, threads: int = 1, long_waiting_max: int = LONG_WAITING_MAX) -> None:
        self._ordinary = ThreadPoolExecutor(threads, thread_name_prefix="encoder")
        self._long = ThreadPoolExecutor(1, thread_name_prefix="encoder-long")
        self._places = threading.BoundedSemaphore(long_waiting_max)

    async def run(self, work: Callable[[], T], *, guard: str, is_long: bool) -> T:
        """Return what `work` returns. Raises CheckFailed, naming `guard`, if too many long texts wait already."""
        if not is_long:
            return await asyncio.wrap_future(self._ordinary.submit(work))
        if not self._places.acquire(blocking=False):
            raise CheckFailed(Outcome.OVERLOADED, guard, "too many long texts wait already")
        running = self._long.submit(work)
        running.add_done_callback(self._leave)
        return await asyncio.wrap_future(running)

    def _leave(self, done: Future[T]) -> None:
        del done
        self._places.release()
