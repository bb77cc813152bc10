"""A gate in front of what can be done only so often at once: the rest waits in a line, the earliest deadline first."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar

from topology.contract.errors import TooLate
from topology.load.limiter import Limiter
from topology.load.line import Line
from topology.load.service import SERVICE_LIMIT

WAITING_MAX = 10_000
"""Calls that may wait at one gate. Far above any in-flight limit: reaching it means that something is stuck."""

DEADLINE_S: ContextVar[float] = ContextVar("sluicegate_deadline", default=float("inf"))
"""The deadline of the event that this task works on, on the clock's monotonic scale."""

OnChange = Callable[[int, int, int], None]
"""A function that is told the limit, how many have begun, and how many wait."""


def unwatched(_limit: int, _begun: int, _waiting: int) -> None:
    """Tell nobody."""


class Turn:
    """A turn at a gate. Set `is_refused` before raising if what was done was refused, or late, for want of room.

    A turn that ends in any other exception says nothing about the pace.
    """

    __slots__ = ("is_done", "is_refused")

    def __init__(self) -> None:
        self.is_done = False
        self.is_refused = False


class Gate:
    """The gate of one event loop. `name` says in errors what it guards."""

    def __init__(
        self, name: str, limiter: Limiter, now_s: Callable[[], float], on_change: OnChange = unwatched
    ) -> None:
        self._name = name
        self._limiter = limiter
        self._now_s = now_s
        self._on_change = on_change
        self._begun_count = 0
        self._line: Line[asyncio.Future[None]] = Line(WAITING_MAX, asyncio.Future.done)

    @asynccontextmanager
    async def turn(self, deadline_s: float) -> AsyncGenerator[Turn]:
        """Wait for a turn, and hold it inside the block; the limit of the service does not count meanwhile.

        Raises TooLate, before the turn begins, if what the block does would not be done before the deadline.
        """
        if self._line.is_full:
            raise TooLate(self._name)
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.add(waiter, deadline_s)
        self._admit()
        if not waiter.done():
            await self._wait(waiter)
        waiter.result()
        turn, began_s = Turn(), self._now_s()
        try:
            yield turn
            turn.is_done = True
        finally:
            if turn.is_done or turn.is_refused:
                self._limiter.ended(began_s, self._now_s(), self._begun_count, is_refused=turn.is_refused)
            self._release()

    async def _wait(self, waiter: asyncio.Future[None]) -> None:
        limit = SERVICE_LIMIT.get()
        if limit is not None:
            limit.pause()
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._release()  # its turn came while it was cancelled
            raise
        finally:
            if limit is not None:
                limit.resume()

    def _release(self) -> None:
        self._begun_count -= 1
        self._admit()

    def _admit(self) -> None:
        for waiter in self._line.take_late(self._now_s() + self._limiter.fastest_s):
            waiter.set_exception(TooLate(self._name))
        while self._begun_count < self._limiter.limit and (first := self._line.first()) is not None:
            self._line.take()
            self._begun_count += 1
            first.set_result(None)
        self._on_change(self._limiter.limit, self._begun_count, len(self._line))
