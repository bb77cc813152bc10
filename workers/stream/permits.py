"""Permits to run: a fixed number. A record that waits for something releases its permit, and takes one to continue.

Records that come back and new records each get every other permit that becomes free. While a model is down, those that
keep trying it leave room for those that do not need it; and under full load no record that waited is forgotten.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

Sleep = Callable[[float], Awaitable[None]]


class Permits:
    """The `count` permits of one event loop. `on_change` is called when a permit is released or waited for.

    At most `lent_max` records release theirs while a model answers them. More would begin, only to wait for it until
    their deadlines pass.
    """

    def __init__(self, count: int, on_change: Callable[[], None], lent_max: int = 0) -> None:
        self._count = count
        self._on_change = on_change
        self._lent_max = lent_max
        self._lent_count = 0
        self._resting_count = 0
        self._taken_count = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.is_held = False
        """Whether none may be taken for now."""
        self._odd_one = 0
        """1 or 0 in turn: 1 if those that wait get the odd permit."""

    @property
    def free_count(self) -> int:
        """Return how many may be taken; never negative."""
        return 0 if self.is_held else max(0, self._count - self._taken_count)

    @property
    def taken_count(self) -> int:
        """Return how many are taken."""
        return self._taken_count

    @property
    def away_count(self) -> int:
        """Return how many records have released theirs to wait for a model, be it for an answer or until it is back.

        At most `lent_max`: no more than so many may be held beside those that run.
        """
        return min(self._lent_max, self._lent_count + self._resting_count)

    @property
    def may_lend(self) -> bool:
        """Return whether one more record may release its permit while a model answers it."""
        return self._lent_count < self._lent_max

    def take(self) -> None:
        """Take a permit even if none is free; then none becomes free until the excess is released."""
        self._taken_count += 1

    def release(self) -> None:
        """Release a permit."""
        self._taken_count -= 1
        self._on_change()

    async def wait(self) -> None:
        """Wait for a permit, in the order of asking, and take it. A cancelled wait takes one all the same."""
        permit = asyncio.get_running_loop().create_future()
        self._waiting.append(permit)
        self._on_change()
        try:
            await permit
        except asyncio.CancelledError:
            if permit.cancelled():
                self.take()
            raise

    async def rest(self, seconds: float, sleep: Sleep) -> None:
        """Release the permit for `seconds`, then wait for one again; if cancelled, take it at once."""
        self._resting_count += 1
        try:
            await self._without(sleep(seconds))
        finally:
            self._resting_count -= 1

    async def lend(self, work: Awaitable[T]) -> T:
        """Return the result of `work`, as `rest` does; to be called if `may_lend`."""
        self._lent_count += 1
        try:
            return await self._without(work)
        finally:
            self._lent_count -= 1

    async def _without(self, work: Awaitable[T]) -> T:
        self.release()
        try:
            result = await work
        except Exception:
            await self.wait()
            raise
        except BaseException:
            self.take()
            raise
        await self.wait()
        return result

    def share(self) -> None:
        """Give every other free permit to those that wait."""
        self._odd_one ^= 1
        self._admit((self.free_count + self._odd_one) // 2)

    def admit(self) -> None:
        """Give every free permit to those that wait."""
        self._admit(self.free_count)

    def _admit(self, count: int) -> None:
        while count and self._waiting:
            permit = self._waiting.popleft()
            if not permit.done():  # else it was cancelled
                permit.set_result(None)
                self.take()
                count -= 1
