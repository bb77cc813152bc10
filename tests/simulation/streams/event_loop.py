"""An event loop in virtual time: what is due runs in order, and nothing waits. For one thread, without I/O."""

import asyncio
import heapq
from asyncio import events
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Any


class VirtualLoop(asyncio.AbstractEventLoop):
    """Runs callbacks, timers and tasks. `run` ends when nothing is left to do."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.failures: list[BaseException] = []
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = count()

    def time(self) -> float:
        return self.now_s

    def get_debug(self) -> bool:
        return False

    def is_closed(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Any = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any, context: Any = None) -> Any:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._numbers), handle))
        return handle

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any, context: Any = None) -> Any:
        return self.call_at(self.now_s + delay, callback, *args, context=context)

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        return asyncio.Task(coro, loop=self, **options)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if (error := context.get("exception")) is not None:
            self.failures.append(error)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Cancelled timers are passed over when they are due."""

    def run(self) -> None:
        """Run until nothing is left; raise the first failure of a callback."""
        events._set_running_loop(self)
        try:
            while self._ready or self._timers:
                while self._ready:
                    handle = self._ready.popleft()
                    if not handle.cancelled():
                        handle._run()
                    if self.failures:
                        raise self.failures[0]
                if self._timers:
                    when, _, timer = heapq.heappop(self._timers)
                    if not timer.cancelled():
                        self.now_s = max(self.now_s, when)
                        self._ready.append(timer)
        finally:
            events._set_running_loop(None)
