"""The processing thread: runs `process` for many records at once, on an event loop of its own.

The tracker says which record is next. It is shared with the poll thread, so each thread takes its lock for the few
microseconds of a call. This one does so once in a turn of the event loop: it hands over what has finished, and takes
what may start, which includes records that waited for those. A record that waits for a model's answer, or between two
tries, releases its permit, so those that need no model continue while the model is down or silent; the rest of its key
waits with it. Suspects, which were running when an earlier process crashed, run beside the others, but one at a time.
One that ran in several crashes runs alone: nothing else is started until it has ended, so that another crash tells
whether it is the cause.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import uvloop

from topology.contract.records import Record, Result
from topology.delivery.tracker import Tracker, WorkItem
from topology.load.limiter import Limiter
from topology.ports import Clock, ConversationStates, Rest, TenantUses
from workers.settings import LimitSettings
from workers.stream.crash_journal import NOT_MARKED, CrashJournal
from workers.stream.permits import Permits
from workers.stream.quarantine import Quarantine

T = TypeVar("T")

Process = Callable[[Record, Rest], Awaitable[Result]]
"""A function from a record to its result. It waits through the `Rest`, and holds no permit meanwhile."""
Close = Callable[[], Awaitable[None]]
"""A function that releases what `process` holds, on the event loop that it ran on."""

SUSPECTS_MAX = 1
"""Suspects that run at once, so that a crash counts against one of them."""


@dataclass(slots=True, eq=False)
class _Run:
    """An item that has begun. `mark` is its mark in the journal while it holds a permit."""

    item: WorkItem
    permits: Permits
    is_probed: bool = False
    """Whether nothing else may run beside it."""
    mark: int = NOT_MARKED


class _Waiting:
    """The `Rest` of one item: while it waits it holds no permit, and no mark, because a crash would not be its work.

    An item that runs alone is in `probed` but while it waits.
    """

    def __init__(self, run: _Run, journal: CrashJournal, clock: Clock, probed: set[_Run]) -> None:
        self._run = run
        self._journal = journal
        self._clock = clock
        self._probed = probed

    async def __call__(self, seconds: float) -> None:
        """See `Rest`."""
        await self._unmarked(self._run.permits.rest(seconds, self._sleep))

    async def during(self, work: Awaitable[T]) -> T:
        """See `Rest.during`."""
        permits = self._run.permits
        return await (self._unmarked(permits.lend(self._then_back(work))) if permits.may_lend else work)

    async def _sleep(self, seconds: float) -> None:
        await self._then_back(self._clock.sleep(seconds))

    async def _then_back(self, waiting: Awaitable[T]) -> T:
        try:
            return await waiting
        finally:
            if self._run.is_probed:
                self._probed.add(self._run)

    async def _unmarked(self, waiting: Awaitable[T]) -> T:
        run = self._run
        self._journal.stop(run.mark)
        run.mark = NOT_MARKED
        self._probed.discard(run)
        try:
            return await waiting
        finally:
            run.mark = self._journal.start(run.item.record)


class Processing:
    """The records in flight. At most `in_flight_max` run at once, others rest; the tracker's bounds hold for both.

    `awaiting_answer_max` further ones may wait for a model's answer.

    `lock` guards `tracker`. `intake` is told how long records wait for their turn. `on_all_done` is
    called when results wait to be committed and nothing else is held.
    """

    def __init__(
        self,
        process: Process,
        tracker: Tracker,
        lock: threading.Lock,
        *,
        clock: Clock,
        limits: LimitSettings,
        close: Close | None,
        quarantine: Quarantine | None = None,
        states: ConversationStates | None = None,
        intake: Limiter,
        uses: TenantUses | None = None,
        on_all_done: Callable[[], None] = lambda: None,
    ) -> None:
        self._process = process
        self._on_all_done = on_all_done
        self._intake = intake
        self._tracker = tracker
        self._lock = lock
        self._clock = clock
        self._permits = Permits(limits.in_flight_max, self._fill_soon, limits.awaiting_answer_max)
        self._permits_of_suspects = Permits(SUSPECTS_MAX, self._fill_soon, limits.awaiting_answer_max)
        self._suspects: deque[WorkItem] = deque()
        """Suspects that the tracker handed out and that wait for a permit."""
        self._probed: set[_Run] = set()
        """Those that run alone, or come back from a rest to do so."""
        self._quarantine = quarantine or Quarantine.none(limits.in_flight_max)
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

    @property
    def awaiting_count(self) -> int:
        """Return how many records wait for a model and hold no permit, in the bound of those that may."""
        return self._permits.away_count + self._permits_of_suspects.away_count

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
            self._permits.is_held = self._is_probing()
            self._permits.share()
            held_count = self._tracker.held_count
            items = self._tracker.next_to_start(self._permits.free_count)
            is_all_done = self._tracker.is_all_due
        if is_all_done:
            self._on_all_done()
        self._note_waits(items, held_count)
        for item in items:
            if self._journal.suspicion(item.record) is None:
                self._begin(item, self._permits)
            else:
                self._suspects.append(item)
                self._fill_soon()  # it leaves its permit to others
        self._permits.admit()
        self._fill_suspects()

    def _note_waits(self, items: Sequence[WorkItem], held_count: int) -> None:
        """Tell the intake how long these waited for their turn since they were read."""
        now_s = self._clock.monotonic_s()
        for item in items:
            if item.record.receipt is not None:
                self._intake.ended(item.record.receipt.at_s, now_s, held_count)

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

    def _is_probing(self) -> bool:
        """Return whether a record runs alone, or is the next one to do so: then nothing else is started."""
        if self._probed:
            return True
        return bool(self._suspects and self._permits_of_suspects.free_count) and self._is_probed(self._suspects[0])

    def _is_probed(self, item: WorkItem) -> bool:
        suspicion = self._journal.suspicion(item.record)
        return suspicion is not None and suspicion.is_probed

    def _fill_suspects(self) -> None:
        permits = self._permits_of_suspects
        self._permits.is_held = self._is_probing()
        if self._permits.is_held and self._permits.taken_count:
            return  # whoever runs alone waits for the others to end; each of them looks here again
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
        run = _Run(item, permits, is_probed=permits is self._permits_of_suspects and self._is_probed(item))
        if run.is_probed:
            self._probed.add(run)
        task = self._loop.create_task(self._one(run))
        self._running[task] = run
        task.add_done_callback(self._on_done)

    async def _one(self, run: _Run) -> Result:
        record = run.item.record
        result = self._quarantine.answer(record) if run.permits is self._permits_of_suspects else None
        if result is None:
            run.mark = self._journal.start(record)
            result = await self._process(record, _Waiting(run, self._journal, self._clock, self._probed))
        return result

    def _on_done(self, task: asyncio.Task[Result]) -> None:
        run = self._running.pop(task)
        self._probed.discard(run)
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
