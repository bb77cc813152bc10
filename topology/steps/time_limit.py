"""What ends a block that waits: its time is over, or nobody waits for what it makes.

A time limit is `asyncio.timeout` at half its cost, which each event pays several times.
Measured under uvloop: 5.4 µs against 11.5 µs (docs/adr/0017-hand-written-hot-paths.md).
"""

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self

from topology.contract.records import Record
from topology.load.service import SERVICE_LIMIT
from topology.ports import Departures


class ClientGone(Exception):
    """Nobody waits for the answer any more."""


class TimeLimit:
    """A context manager in a task: after `timeout_s` the block is cancelled, and TimeoutError is raised.

    As with `asyncio.timeout`, a cancellation from elsewhere remains a cancellation, limits can be nested, and a block
    that does not wait is never late. Unlike it, a limit cannot be entered twice.
    """

    __slots__ = ("_cancelling_count", "_ends_s", "_is_over", "_left_s", "_loop", "_pauses", "_task", "_timer")

    def __init__(self, timeout_s: float) -> None:
        self._left_s = timeout_s
        self._is_over = False
        self._pauses = 0

    def __enter__(self) -> Self:
        loop = self._loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None, "a time limit outside a task"
        self._task = task
        self._cancelling_count = task.cancelling()
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._timer.cancel()
        # If the task is still being cancelled after this limit takes its own request back, somebody else asked too.
        if not self._is_over or self._task.uncancel() > self._cancelling_count:
            return
        if kind is asyncio.CancelledError:
            raise TimeoutError from error

    def pause(self) -> None:
        """Stop counting until `resume` has been called as often."""
        self._pauses += 1
        if self._pauses == 1:
            self._timer.cancel()
            self._left_s = self._ends_s - self._loop.time()

    def resume(self) -> None:
        """Go on counting where it stopped."""
        self._pauses -= 1
        if not self._pauses and not self._is_over:
            self._start()

    def _start(self) -> None:
        self._ends_s = self._loop.time() + self._left_s
        self._timer = self._loop.call_later(self._left_s, self._end)

    def _end(self) -> None:
        self._is_over = True
        self._task.cancel()


class ServiceTimeLimit(TimeLimit):
    """A time limit of what is served inside the block: whoever makes it wait there pauses the limit meanwhile."""

    __slots__ = ("_token",)

    def __enter__(self) -> Self:
        super().__enter__()
        self._token = SERVICE_LIMIT.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        SERVICE_LIMIT.reset(self._token)
        super().__exit__(kind, error, traceback)


class UntilGone:
    """A context manager in a task: once nobody waits for a record's answer, the block ends with ClientGone.

    As with a time limit, a cancellation from elsewhere remains one. With `departures` None somebody always waits.
    """

    __slots__ = ("_cancelling_count", "_departures", "_event_id", "_is_gone", "_loop", "_record", "_task", "_unwatch")

    def __init__(self, departures: Departures | None, record: Record, event_id: str) -> None:
        self._departures = departures
        self._record = record
        self._event_id = event_id
        self._is_gone = False
        self._task: asyncio.Task[object] | None = None

    def __enter__(self) -> Self:
        if self._departures is not None:
            self._loop = asyncio.get_running_loop()
            self._task = asyncio.current_task(self._loop)
            assert self._task is not None, "watched outside a task"
            self._cancelling_count = self._task.cancelling()
            self._unwatch = self._departures.watch(self._record, self._event_id, self._leave)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        if task is None:
            return
        self._unwatch()
        if not self._is_gone or task.uncancel() > self._cancelling_count:
            return
        if kind is asyncio.CancelledError:
            raise ClientGone from error

    def _leave(self) -> None:
        """Have the block cancelled, from any thread; the loop may have ended by now."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        if self._task is not None and not self._is_gone:
            self._is_gone = True
            self._task.cancel()
