"""Consume, process, publish: the one place where effects happen, in one order.

The thread that calls `run` owns every Kafka call. Events are processed on an event loop of a second thread, as many
at once as `in_flight_max`. Each round takes the finished prefix of every partition and makes responses, audit records
and the consumed position visible in one transaction; no transaction is open between rounds. When the group's
membership changes, or a transaction does not go through, everything unfinished is dropped and read again.
"""

import asyncio
import logging
import threading
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum

import uvloop
from msgspec import Struct

from topology.instruments import Instruments
from topology.metrics import Metric
from topology.ports import Clock, Ownership, Record, Result, Sink, Source
from topology.tracing import Tracing
from topology.window import Batch, Window
from workers.settings import LimitSettings

logger = logging.getLogger("sluicegate.loop")

POLL_TIMEOUT_S = 0.05
"""Longest wait for records when nothing else is due; half of it is added to an idle partition's latency."""

BUSY_POLL_TIMEOUT_S = 0.01
"""Longest wait for records while events are under way: as late as a full transaction may be noticed."""

COMMIT_INTERVAL_S = 0.1
"""Time between transactions: each costs 6 to 13 ms whatever it holds, so they are made by time, not by count."""

LAG_INTERVAL_S = 1.0
"""Time between two looks at the lag, which cost something for every partition."""

STOP_TIMEOUT_S = 5.0
"""Bound on ending the processing thread once nothing is awaited any more."""


class LoopState(StrEnum):
    """Where the loop is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    DRAINING = "draining"
    STOPPED = "stopped"
    FAILED = "failed"


class LoopHealth(Struct, frozen=True, kw_only=True):
    """A snapshot for probes: `poll_age_s` is how long ago the last poll returned."""

    state: LoopState
    poll_age_s: float
    held_count: int
    ready_count: int
    committed_count: int
    paused: bool
    assigned: bool


Process = Callable[[Record], Awaitable[Result]]
Close = Callable[[], Awaitable[None]]
"""Releases what `process` holds, on the event loop that it ran on."""


class Loop:
    """Moves records from a source through `process` into a sink."""

    def __init__(
        self,
        source: Source,
        sink: Sink,
        process: Process,
        *,
        clock: Clock,
        limits: LimitSettings,
        metrics: Instruments,
        tracing: Tracing,
        close: Close | None = None,
    ) -> None:
        self._source = source
        self._sink = sink
        self._clock = clock
        self._limits = limits
        self._metrics = metrics
        self._tracing = tracing
        self._window = Window()
        self._processing = _Processing(process, limits.in_flight_max, close)
        self._ownership: Ownership | None = None
        self._paused = False
        self._state = LoopState.STARTING
        self._committed_count = 0
        self._last_poll_s = clock.monotonic_s()
        self._last_commit_s = clock.monotonic_s()
        self._last_lag_s = clock.monotonic_s() - LAG_INTERVAL_S
        self._drain_until_s: float | None = None

    def run(self) -> None:
        """Work until drained. Raises what ended it: a bug in `process`, or a source or sink that cannot go on."""
        self._processing.start()
        if self._drain_until_s is None:
            self._state = LoopState.RUNNING
        try:
            while not self._is_done():
                self._turn()
            self._state = LoopState.STOPPED
        except BaseException:
            self._state = LoopState.FAILED
            raise
        finally:
            self._processing.stop(STOP_TIMEOUT_S)
            self._source.close()
            self._sink.close()

    def drain(self, timeout_s: float) -> None:
        """Ask for the end: finish and commit what is held within `timeout_s`, then leave `run`. From any thread.

        What does not finish in time stays uncommitted and is read again by the next holder of the slot.
        """
        if self._state in {LoopState.STARTING, LoopState.RUNNING}:
            self._state = LoopState.DRAINING
        self._drain_until_s = self._clock.monotonic_s() + timeout_s

    def health(self) -> LoopHealth:
        """A snapshot. From any thread."""
        return LoopHealth(
            state=self._state,
            poll_age_s=self._clock.monotonic_s() - self._last_poll_s,
            held_count=self._window.count,
            ready_count=self._window.ready,
            committed_count=self._committed_count,
            paused=self._paused,
            assigned=self._ownership is not None,
        )

    def _is_done(self) -> bool:
        if self._drain_until_s is None:
            return False
        return self._window.count == 0 or self._clock.monotonic_s() >= self._drain_until_s

    def _turn(self) -> None:
        self._collect()
        self._poll()
        self._collect()
        if self._is_commit_due():
            self._commit()
        self._metrics.gauge_set(Metric.INFLIGHT_EVENTS, self._window.count - self._window.ready)
        if self._last_poll_s - self._last_lag_s >= LAG_INTERVAL_S:
            self._show_lag()

    def _poll(self) -> None:
        self._set_paused(self._is_full() or self._drain_until_s is not None)
        records = self._source.poll(self._poll_timeout_s())
        self._last_poll_s = self._clock.monotonic_s()
        ownership = self._source.ownership()
        if ownership != self._ownership:
            self._forget("membership changed")
            self._ownership = ownership
            self._metrics.gauge_clear(Metric.CONSUMER_LAG)
            self._metrics.gauge_clear(Metric.CONSUMER_LAG_SECONDS)
        if records and ownership is not None and self._drain_until_s is None:
            self._window.add(records)
            self._processing.submit(records, self._window.epoch)
            self._metrics.count(Metric.EVENTS_CONSUMED, len(records), topic=records[0].topic)

    def _poll_timeout_s(self) -> float:
        """A poll cannot be woken by what finishes meanwhile, so it is short while anything is under way."""
        if not self._window.count:
            return POLL_TIMEOUT_S
        if not self._window.due:
            return BUSY_POLL_TIMEOUT_S
        if self._window.due >= self._limits.batch_events_max:
            return 0.0
        due_s = self._last_commit_s + COMMIT_INTERVAL_S - self._clock.monotonic_s()
        return min(BUSY_POLL_TIMEOUT_S, max(0.0, due_s))

    def _is_full(self) -> bool:
        share = 0.5 if self._paused else 1.0
        return (
            self._window.count >= self._limits.queue_events_max * share
            or self._window.size_bytes >= self._limits.queue_bytes_max * share
        )

    def _set_paused(self, paused: bool) -> None:
        if paused != self._paused:
            (self._source.pause if paused else self._source.resume)()
            self._paused = paused
            self._metrics.gauge_set(Metric.BACKPRESSURE_PAUSED, int(paused))

    def _collect(self) -> None:
        for epoch, result in self._processing.finished():
            self._window.finish(result, epoch)

    def _is_commit_due(self) -> bool:
        if not self._window.due:
            return False
        waited_s = self._clock.monotonic_s() - self._last_commit_s
        return waited_s >= COMMIT_INTERVAL_S or self._window.due >= self._limits.batch_events_max

    def _commit(self) -> None:
        batch = self._window.take(self._limits.batch_events_max)
        if batch is None or self._ownership is None:
            return
        started_s = self._clock.monotonic_s()
        with self._tracing.commit(batch.results[0].topic, batch.results) as span:
            done = self._sink.commit(batch.records, batch.offsets, self._ownership)
            if not done:
                span.failed("aborted")
        self._last_commit_s = self._clock.monotonic_s()
        self._metrics.observe(Metric.COMMIT_DURATION, self._last_commit_s - started_s)
        if done:
            self._window.settle(batch)
            self._committed_count += batch.count
            self._count_published(batch)
        else:
            self._forget("transaction aborted")
            self._source.rewind()

    def _count_published(self, batch: Batch) -> None:
        for topic, count in Counter([record.topic for record in batch.records]).items():
            self._metrics.count(Metric.EVENTS_PUBLISHED, count, topic=topic)

    def _show_lag(self) -> None:
        """Set the gauges of lag: what is not committed is what was not read and what is held here."""
        self._last_lag_s = self._last_poll_s
        held, now_ms = self._window.held(), self._clock.now_ms()
        for (topic, number), unread in self._source.lag().items():
            count, oldest_ms = held.get((topic, number), (0, 0))
            waited_s = max(0.0, (now_ms - oldest_ms) / 1000) if oldest_ms else 0.0  # 0: none, or without a time
            partition = str(number)
            self._metrics.gauge_set(Metric.CONSUMER_LAG, unread + count, topic=topic, partition=partition)
            self._metrics.gauge_set(Metric.CONSUMER_LAG_SECONDS, waited_s, topic=topic, partition=partition)

    def _forget(self, reason: str) -> None:
        if self._window.count:
            logger.info("dropping unfinished work", extra={"reason": reason, "held_count": self._window.count})
        self._window.clear()
        self._processing.cancel_all()


class _Processing:
    """Runs `process` for many records on an event loop of its own thread; bounded, and unordered."""

    def __init__(self, process: Process, in_flight_max: int, close: Close | None) -> None:
        self._process = process
        self._close = close
        self._in_flight_max = in_flight_max
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="processing", daemon=True)
        self._waiting: deque[tuple[int, Record]] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._finished: deque[tuple[int, Result]] = deque()
        self._error: BaseException | None = None

    def start(self) -> None:
        self._thread.start()

    def submit(self, records: Sequence[Record], epoch: int) -> None:
        self._loop.call_soon_threadsafe(self._accept, records, epoch)

    def finished(self) -> list[tuple[int, Result]]:
        """What finished since the last call, in order of completion. Raises what a task raised."""
        if self._error is not None:
            raise self._error
        return [self._finished.popleft() for _ in range(len(self._finished))]

    def cancel_all(self) -> None:
        self._loop.call_soon_threadsafe(self._cancel)

    def stop(self, timeout_s: float) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._cancel)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout_s)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        pending = asyncio.all_tasks(self._loop)
        self._loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        if self._close is not None:
            self._loop.run_until_complete(self._close())
        self._loop.close()

    def _accept(self, records: Sequence[Record], epoch: int) -> None:
        self._waiting.extend((epoch, record) for record in records)
        self._fill()

    def _fill(self) -> None:
        while self._waiting and len(self._running) < self._in_flight_max and self._error is None:
            epoch, record = self._waiting.popleft()
            task = self._loop.create_task(self._one(epoch, record))
            self._running.add(task)
            task.add_done_callback(self._on_done)

    async def _one(self, epoch: int, record: Record) -> None:
        self._finished.append((epoch, await self._process(record)))

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if task.cancelled():
            if not task.cancelling():  # nobody asked for it: without a result its partition would wait for ever
                self._error = RuntimeError("processing was cancelled from within")
        elif (error := task.exception()) is not None:
            self._error = error
        self._fill()

    def _cancel(self) -> None:
        self._waiting.clear()
        for task in self._running:
            task.cancel()
