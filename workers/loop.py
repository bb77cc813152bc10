"""Consume, process, publish: the one place where effects happen, in one order.

The thread that calls `run` owns every Kafka call. Events are processed on an event loop of a second thread, as many
at once as `in_flight_max`, one at a time of each key. Each round takes what has finished, in order of completion, and
makes responses, audit records and the consumed position visible in one transaction; what is done above the position
travels in its metadata, so no key waits for another one's commit. No transaction is open between rounds. What a failed
one held is kept for the next, and so is work under way across a rebalance that gives the partition back.
"""

import logging
import threading
from collections import Counter
from enum import StrEnum

from msgspec import Struct

from topology.errors import UnreadableMap
from topology.instruments import Instruments
from topology.metrics import Metric
from topology.ports import Clock, Ownership, PartitionOffset, Sink, Source
from topology.tracing import Tracing
from topology.tracker import Round, Tracker, TrackerLimits
from workers.processing import Close, Process, Processing
from workers.settings import LimitSettings

logger = logging.getLogger("sluicegate.loop")

POLL_TIMEOUT_S = 0.05
"""Longest wait for records when nothing else is due; half of it is added to an idle partition's latency."""

BUSY_POLL_TIMEOUT_S = 0.01
"""Longest wait for records while events are under way: as late as a full transaction may be noticed."""

COMMIT_INTERVAL_S = 0.1
"""Time between transactions: each costs 6 to 13 ms whatever it holds, so they are made by time, not by count."""

COMMIT_RETRY_MAX_S = 2.0
"""Longest wait after a failed transaction; it doubles from COMMIT_INTERVAL_S, so that the sink's bound on failures in a
row is some 13 s: longer than a rebalance, in whose last moments the generation is stale, takes to be noticed."""

ROUND_BYTES_MAX = 32 << 20
"""Results of one transaction; a single larger one goes alone."""

GAUGES_INTERVAL_S = 1.0
"""Time between two looks at lag and windows, which cost something for every partition."""

STOP_TIMEOUT_S = 5.0
"""Bound on ending the processing thread once nothing is awaited any more."""


PARTITION_GAUGES = (
    Metric.CONSUMER_LAG,
    Metric.CONSUMER_LAG_SECONDS,
    Metric.WINDOW_FILL,
    Metric.OFFSET_MAP_CHARS,
)
"""Those that end with the ownership of their partition."""


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
    stopped_count: int = 0
    """Partitions whose committed map is unreadable: nothing of them is processed until somebody repairs it."""


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
        self._lock = threading.Lock()
        self._tracker = Tracker(TrackerLimits(count_max=limits.queue_events_max, bytes_max=limits.queue_bytes_max))
        self._processing = Processing(
            process, self._tracker, self._lock, clock=clock, in_flight_max=limits.in_flight_max, close=close
        )
        self._ownership: Ownership | None = None
        self._is_paused = False
        self._failure_count = 0
        self._state = LoopState.STARTING
        self._committed_count = 0
        self._last_poll_s = clock.monotonic_s()
        self._last_commit_s = clock.monotonic_s()
        self._last_gauges_s = clock.monotonic_s() - GAUGES_INTERVAL_S
        self._drain_until_s: float | None = None

    def run(self) -> None:
        """Work until drained. Raises what ended it: a bug in `process`, or a source or sink that cannot go on."""
        self._processing.start()
        if self._drain_until_s is None:
            self._state = LoopState.RUNNING
        try:
            while not self._is_done():
                self._turn()
            self._processing.stop(STOP_TIMEOUT_S)
            self._commit_rest()
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

        What does not finish in time stays incomplete in the committed map and is read again by the next owner.
        """
        if self._state in {LoopState.STARTING, LoopState.RUNNING}:
            self._state = LoopState.DRAINING
        self._drain_until_s = self._clock.monotonic_s() + timeout_s

    def health(self) -> LoopHealth:
        """A snapshot. From any thread."""
        with self._lock:
            held_count, ready_count = self._tracker.held_count, self._tracker.ready_count
            stopped_count = len(self._tracker.stopped)
        return LoopHealth(
            state=self._state,
            poll_age_s=self._clock.monotonic_s() - self._last_poll_s,
            held_count=held_count,
            ready_count=ready_count,
            committed_count=self._committed_count,
            paused=self._is_paused,
            assigned=self._ownership is not None,
            stopped_count=stopped_count,
        )

    def _is_done(self) -> bool:
        if self._drain_until_s is None:
            return False
        return not self._tracker.held_count or self._clock.monotonic_s() >= self._drain_until_s

    def _turn(self) -> None:
        self._processing.check()
        self._poll()
        if self._is_commit_due():
            self._commit()
        with self._lock:
            in_flight_count = self._tracker.held_count - self._tracker.ready_count
        self._metrics.gauge_set(Metric.INFLIGHT_EVENTS, in_flight_count)
        if self._last_poll_s - self._last_gauges_s >= GAUGES_INTERVAL_S:
            self._show_gauges()

    def _poll(self) -> None:
        self._pause()
        records = self._source.poll(self._poll_timeout_s())
        self._last_poll_s = self._clock.monotonic_s()
        ownership = self._source.ownership()
        with self._lock:
            if ownership != self._ownership:
                self._adopt(ownership)
            for position in self._source.positions():
                self._restore(position)
            accepted_count = self._tracker.add(records) if self._drain_until_s is None else 0
            is_parked = self._tracker.wake_s() is not None
        if accepted_count:
            self._metrics.count(Metric.EVENTS_CONSUMED, accepted_count, topic=records[0].topic)
        if accepted_count or is_parked:
            self._processing.wake()

    def _adopt(self, ownership: Ownership | None) -> None:
        """Take over a change of membership. What was held waits in limbo until its partition is restored."""
        self._ownership = ownership
        self._failure_count = 0
        for gauge in PARTITION_GAUGES:
            self._metrics.gauge_clear(gauge)
        if ownership is None:
            self._tracker.revoke(self._tracker.assigned)
        else:
            self._tracker.assign(ownership, self._source.assignment())
        self._processing.cancel_dead()

    def _restore(self, position: PartitionOffset) -> None:
        try:
            self._tracker.restore(position)
        except UnreadableMap as exc:
            # Reading on from the offset would answer again what the map says is done.
            logger.error(  # noqa: TRY400 - the trace says nothing that the fault does not
                "partition stopped: its committed offset map is unreadable",
                extra={"partition": position.partition, "offset": position.offset, "fault": exc.fault},
            )
        self._processing.cancel_dead()
        self._processing.wake()

    def _poll_timeout_s(self) -> float:
        """A poll cannot be woken by what finishes meanwhile, so it is short while anything is under way."""
        with self._lock:
            held_count, due_count = self._tracker.held_count, self._tracker.due_count
        if not held_count:
            return POLL_TIMEOUT_S
        if not due_count:
            return BUSY_POLL_TIMEOUT_S
        if self._is_round_full(due_count):
            return 0.0
        return min(BUSY_POLL_TIMEOUT_S, max(0.0, self._commit_due_s() - self._clock.monotonic_s()))

    def _pause(self) -> None:
        with self._lock:
            paused, stopped = self._tracker.paused(), self._tracker.stopped
        if self._drain_until_s is not None:
            paused = self._source.assignment()
        self._source.pause(paused)
        if bool(paused - stopped) != self._is_paused:
            self._is_paused = bool(paused - stopped)
            self._metrics.gauge_set(Metric.BACKPRESSURE_PAUSED, int(self._is_paused))

    def _commit_due_s(self) -> float:
        """When the next round is due: after each failure in a row the wait is twice as long."""
        wait_s = min(COMMIT_INTERVAL_S * 2**self._failure_count, COMMIT_RETRY_MAX_S)
        return self._last_commit_s + wait_s

    def _is_commit_due(self) -> bool:
        with self._lock:
            due_count = self._tracker.due_count
        if not due_count:
            return False
        return self._is_round_full(due_count) or self._clock.monotonic_s() >= self._commit_due_s()

    def _is_round_full(self, due_count: int) -> bool:
        """Whether a round need not wait for its time; after a failure it does."""
        return due_count >= self._limits.batch_events_max and not self._failure_count

    def _commit(self) -> bool:
        """Make one round visible. False where there is none, or it failed and is kept."""
        if self._ownership is None:
            return False
        with self._lock:
            taken = self._tracker.take(self._ownership, self._limits.batch_events_max, ROUND_BYTES_MAX)
        started_s = self._clock.monotonic_s()
        if taken is None:
            self._last_commit_s = started_s
            return False
        with self._tracing.commit(taken.offsets[0].topic, taken.results) as span:
            is_done = self._sink.commit(taken.records, taken.offsets, self._ownership)
            if not is_done:
                span.failed("aborted")
        self._last_commit_s = self._clock.monotonic_s()
        self._metrics.observe(Metric.COMMIT_DURATION, self._last_commit_s - started_s)
        self._end_round(taken, is_done=is_done)
        return is_done

    def _end_round(self, taken: Round, *, is_done: bool) -> None:
        with self._lock:
            (self._tracker.applied if is_done else self._tracker.aborted)(taken)
        if is_done:
            self._failure_count = 0
            self._committed_count += taken.count
            self._count_published(taken)
            self._processing.wake()
        else:
            self._failure_count = min(self._failure_count + 1, 10)
            logger.info("transaction aborted, results kept", extra={"held_count": taken.count})

    def _commit_rest(self) -> None:
        """Commit everything that finished, once nothing runs any more. Ends at the first failure."""
        while self._tracker.ready_count and self._commit():
            pass

    def _count_published(self, taken: Round) -> None:
        for topic, count in Counter([record.topic for record in taken.records]).items():
            self._metrics.count(Metric.EVENTS_PUBLISHED, count, topic=topic)

    def _show_gauges(self) -> None:
        """Set the gauges of partitions: what is not committed is what was not read and what is held here."""
        self._last_gauges_s = self._last_poll_s
        now_ms, ends = self._clock.now_ms(), self._source.end_offsets()
        with self._lock:
            stats = self._tracker.stats()
        self._metrics.gauge_set(Metric.STOPPED_PARTITIONS, len(stats.stopped))
        for window in stats.partitions:
            labels = {"topic": window.topic, "partition": str(window.partition)}
            self._metrics.gauge_set(Metric.WINDOW_FILL, window.fill, **labels)
            self._metrics.gauge_set(Metric.OFFSET_MAP_CHARS, window.map_chars, **labels)
            oldest_ms = window.oldest_timestamp_ms  # None or 0: none, not delivered again yet, or without a time
            waited_s = max(0.0, (now_ms - oldest_ms) / 1000) if oldest_ms else 0.0
            self._metrics.gauge_set(Metric.CONSUMER_LAG_SECONDS, waited_s, **labels)
            end = ends.get((window.topic, window.partition))
            if end is not None:
                self._metrics.gauge_set(Metric.CONSUMER_LAG, window.lag(end), **labels)
