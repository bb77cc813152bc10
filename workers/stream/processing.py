"""The processing thread: runs `process` for many records at once, on an event loop of its own.

The tracker says which record is next. It is shared with the poll thread, so each thread takes its lock for the few
microseconds of a call. This one does so once in a turn of the event loop: it hands over what has finished, and takes
what may start, which includes records that waited for those. A record that waits between two tries releases its permit,
so records that need no model continue while the model is down; the rest of its key waits with it. Suspects, which were
running when an earlier process crashed, run beside the others, but one at a time.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import uvloop

from topology.contract.records import Record, Result
from topology.delivery.tracker import Tracker, WorkItem
from topology.ports import Clock, ConversationStates, Rest, TenantUses
from workers.stream.crash_journal import NOT_MARKED
from workers.stream.permits import Permits
from workers.stream.quarantine import Quarantine

Process = Callable[[Record, Rest], Awaitable[Result]]
"""A function from a record to its result. It waits through the `Rest`, and holds no permit meanwhile."""
Close = Callable[[], Awaitable[None]]
"""A function that releases what `process` holds, on the event loop that it ran on."""

SUSPECTS_MAX = 1
"""Suspects that run at once, so that a crash counts against one of them."""


@dataclass(slots=True)
class _Run:
    """An item that has begun. `mark` is its mark in the journal while it holds a permit."""

    item: WorkItem
    permits: Permits
    mark: int = NOT_MARKED


class Processing:
    """The records in flight. At most `in_flight_max` run at once, others rest; the tracker's bounds hold for both.

    `lock` guards `tracker`.
    """

    def __init__(
        self,
        process: Process,
        tracker: Tracker,
        lock: threading.Lock,
        *,
        clock: Clock,
        in_flight_max: int,
        close: Close | None,
        quarantine: Quarantine | None = None,
        states: ConversationStates | None = None,
        uses: TenantUses | None = None,
    ) -> None:
        self._process = process
        self._tracker = tracker
        self._lock = lock
        self._clock = clock
        self._permits = Permits(in_flight_max, self._fill_soon)
        self._permits_of_suspects = Permits(SUSPECTS_MAX, self._fill_soon)
        self._suspects: deque[WorkItem] = deque()
        """Suspects that the tracker handed out and that wait for a permit."""
        self._quarantine = quarantine or Quarantine.none(in_flight_max)
        self._journal = self._quarantine.journal
        self._close = close
        self._states = states
        self._uses = uses
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="processing", daemon=True)
        self._running: dict[asyncio.Task[Result], _Run] = {}
        self._finished: list[tuple[WorkItem, Result]] = []
        """Results that the tracker does not have yet."""
        self._is_fill_due = False
        self._is_stopping = False
        self._is_ended = False
        self._gate = threading.Lock()
        self._error: BaseException | None = None

    def start(self) -> None:
        """Start the thread. `wake` starts what the tracker holds."""
        self._thread.start()

    def wake(self) -> None:
        """Start the records that may start; none once `stop` was called. From any thread."""
        self._call(self._fill_soon)

    def cancel_dead(self) -> None:
        """Cancel the records that run under an ownership that has ended. From any thread."""
        self._call(self._cancel_dead)

    def check(self) -> None:
        """Raise what a call of `process` raised."""
        if self._error is not None:
            raise self._error

    def stop(self, timeout_s: float) -> None:
        """Cancel everything and end the thread. Its records are not counted as running in a crash.

        A second call only waits: the event loop must not be stopped again while it ends what was cancelled.
        """
        with self._gate:
            is_first, self._is_ended = not self._is_ended, True
        if self._thread.is_alive():
            if is_first:
                self._loop.call_soon_threadsafe(self._cancel_all)
                self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout_s)
        self._journal.close()

    def _call(self, action: Callable[[], None]) -> None:
        """Have the event loop call `action`. The gate keeps the loop open until it is scheduled."""
        with self._gate:
            if not self._is_ended:
                self._loop.call_soon_threadsafe(action)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.run_until_complete(asyncio.gather(*self._running, return_exceptions=True))
        with self._lock:
            self._hand_over()
        if self._close is not None:
            self._loop.run_until_complete(self._close())
        # Only now: a task such as the watch over a dead stage actor goes on until its owner is closed.
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self._loop.close()

    def _fill_soon(self) -> None:
        """Look at the tracker once for all records that finish in one turn of the event loop."""
        if not self._is_fill_due:
            self._is_fill_due = True
            self._loop.call_soon(self._fill)

    def _fill(self) -> None:
        self._is_fill_due = False
        with self._lock:
            self._hand_over()
            if self._error is not None or self._is_stopping:
                return
            self._permits.share()
            items = self._tracker.next_to_start(self._permits.free_count)
        for item in items:
            if self._journal.suspicion(item.record) is None:
                self._begin(item, self._permits)
            else:
                self._suspects.append(item)
                self._fill_soon()  # it leaves its permit to others
        self._permits.admit()
        self._fill_suspects()

    def _hand_over(self) -> None:
        """Give the tracker what has finished. The caller holds the lock."""
        finished, self._finished = self._finished, []
        try:
            for item, result in finished:
                if not self._tracker.is_live(item):
                    continue
                # In one step: nobody may take the partition over in between.
                counted = result if self._uses is None else self._uses.counted(result)
                self._tracker.finish(item, counted)
                if self._states is not None:
                    self._states.finished(counted)
        except ValueError as exc:
            self._error = exc

    def _fill_suspects(self) -> None:
        permits = self._permits_of_suspects
        permits.share()
        while permits.free_count and self._suspects:
            item = self._suspects.popleft()
            with self._lock:
                is_live = self._tracker.is_live(item)
            if is_live:
                self._begin(item, permits)
        permits.admit()

    def _begin(self, item: WorkItem, permits: Permits) -> None:
        permits.take()
        run = _Run(item, permits)
        task = self._loop.create_task(self._one(run))
        self._running[task] = run
        task.add_done_callback(self._on_done)

    async def _one(self, run: _Run) -> Result:
        record = run.item.record
        result = self._quarantine.answer(record) if run.permits is self._permits_of_suspects else None
        if result is None:
            run.mark = self._journal.start(record)
            result = await self._process(record, partial(self._rest, run))
        return result

    async def _rest(self, run: _Run, seconds: float) -> None:
        self._journal.stop(run.mark)
        run.mark = NOT_MARKED
        try:
            await run.permits.rest(seconds, self._clock.sleep)
        finally:
            run.mark = self._journal.start(run.item.record)

    def _on_done(self, task: asyncio.Task[Result]) -> None:
        run = self._running.pop(task)
        run.permits.release()
        if task.cancelled():
            if task.cancelling():
                self._journal.stop(run.mark)
                return
            # Nothing here cancelled it: without a result its record would stay held for ever.
            self._error = RuntimeError("processing was cancelled from within")
        else:
            error = task.exception()
            if error is None:
                self._journal.finish(run.mark)
                self._finished.append((run.item, task.result()))
                return
            self._error = error
        self._journal.blame(run.mark)

    def _cancel_dead(self) -> None:
        with self._lock:
            dead = [task for task, run in self._running.items() if not self._tracker.is_live(run.item)]
        for task in dead:
            task.cancel()

    def _cancel_all(self) -> None:
        self._is_stopping = True
        for task in self._running:
            task.cancel()
