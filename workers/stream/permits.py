"""Permits to run in: a fixed number, given up by who waits for something, and taken again before it goes on.

Who comes back and who comes new get every other permit that becomes free: while a model is down, those that try it again
and again leave room for those that do not need it, and under full load nobody who waited is forgotten.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from topology.ports import Rest


class Permits:
    """`count` permits of one event loop. `on_change` is called when a permit is given up, or waited for."""

    def __init__(self, count: int, on_change: Callable[[], None]) -> None:
        self._count = count
        self._on_change = on_change
        self._taken_count = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._odd_one = 0
        """1 where those that wait get the odd permit, next time 0."""

    @property
    def free_count(self) -> int:
        """How many may be taken; never negative."""
        return max(0, self._count - self._taken_count)

    def take(self) -> None:
        """Take a permit, one too many if need be: then none is free until as many are given up."""
        self._taken_count += 1

    def release(self) -> None:
        """Give a permit up."""
        self._taken_count -= 1
        self._on_change()

    async def wait(self) -> None:
        """Take a permit, in the order of asking. Where that is cancelled, the permit is taken all the same."""
        permit = asyncio.get_running_loop().create_future()
        self._waiting.append(permit)
        self._on_change()
        try:
            await permit
        except asyncio.CancelledError:
            if permit.cancelled():
                self.take()
            raise

    async def rest(self, seconds: float, sleep: Rest) -> None:
        """Give the permit up for `seconds`, and take one again; at once where that is cancelled."""
        self.release()
        try:
            await sleep(seconds)
        except BaseException:
            self.take()
            raise
        await self.wait()

    def share(self) -> None:
        """Give those that wait every other permit that is free."""
        self._odd_one ^= 1
        self._admit((self.free_count + self._odd_one) // 2)

    def admit(self) -> None:
        """Give those that wait every permit that is free."""
        self._admit(self.free_count)

    def _admit(self, count: int) -> None:
        while count and self._waiting:
            permit = self._waiting.popleft()
            if not permit.done():  # else it was cancelled
                permit.set_result(None)
                self.take()
                count -= 1
