"""Makes what has finished visible, one transaction after the other, on a thread of its own.

Each round takes what has finished, in order of completion, and commits responses, audit records and the consumed
positions together. No transaction is open between rounds. What a failed one held is kept for the next. The poll thread
never waits for any of it, so a worker whose transactions fail stays in its group.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable

from topology.contract.records import Ownership
from topology.delivery.tracker import Round, Tracker
from topology.ports import Clock, Sink
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from topology.telemetry.tracing import Tracing
from workers.settings import LimitSettings

logger = logging.getLogger("sluicegate.committer")

RETRY_MAX_S = 2.0
"""Longest wait after a failed transaction; it doubles from the commit interval, so that the sink's bound on failures in
a row is some 13 s: longer than a rebalance, in whose last moments the generation is stale, takes to be noticed."""

DOUBLINGS_MAX = 10

IDLE_WAIT_S = 0.05
"""Longest wait for something to commit; added to the latency of what finishes first."""

BUSY_WAIT_S = 0.01
"""Longest wait while results are ready: as late as a full transaction may be noticed."""

ROUND_BYTES_MAX = 32 << 20
"""Results of one transaction; a single larger one goes alone."""

REST_ROUNDS_MAX = 10_000
"""Bound on the rounds after the end of processing; the tracker's bounds hold far less."""


class Committer:
    """`lock` guards `tracker`. `on_room` is called when a round has made room in it.

    The sink is called by the thread of `start`, or by whoever calls `turn` instead.
    """

    def __init__(
        self,
        sink: Sink,
        tracker: Tracker,
        lock: threading.Lock,
        *,
        clock: Clock,
        limits: LimitSettings,
        metrics: Instruments,
        tracing: Tracing,
        on_room: Callable[[], None],
    ) -> None:
        self._sink = sink
        self._tracker = tracker
        self._lock = lock
        self._clock = clock
        self._interval_s = limits.commit_interval_ms / 1000
        self._count_max = limits.batch_events_max
        self._metrics = metrics
        self._tracing = tracing
        self._on_room = on_room
        self._thread = threading.Thread(target=self._serve, name="commit", daemon=True)
        self._wake = threading.Event()
        self._turned = threading.Condition()
        self._asked_count = 0
        self._answered_count = 0
        self._is_stopping = False
        self._ownership: Ownership | None = None
        self._failure_count = 0
        self._last_commit_s = clock.monotonic_s()
        self._error: BaseException | None = None
        self.committed_count = 0
        """Records whose results are visible."""

    def start(self) -> None:
        """Begin on a thread of its own."""
        self._thread.start()

    def check(self) -> None:
        """Raises what ended the thread."""
        if self._error is not None:
            raise self._error

    def stop(self, timeout_s: float) -> bool:
        """Commit what has finished and end the thread; False where that took longer. Then `close` the sink."""
        self._is_stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def settle(self, timeout_s: float) -> bool:
        """Have everything that has finished by now committed. From any other thread.

        False where a round failed, nobody commits any more, or `timeout_s` was not enough: then it stays held.
        """
        if not self._thread.is_alive():
            return False
        with self._turned:
            self._asked_count += 1
            asked = self._asked_count
        self._wake.set()
        with self._turned:
            is_answered = self._turned.wait_for(lambda: self._answered_count >= asked, timeout_s)
        return is_answered and not self._failure_count and self._error is None

    def turn(self) -> bool:
        """Commit one round if one is due, or asked for by `settle`. False where nothing became visible."""
        asked = self._asked_count
        if asked == self._answered_count:
            return self._is_due() and self._commit()
        is_done = self.rest()
        with self._turned:
            self._answered_count = asked
            self._turned.notify_all()
        return is_done

    def rest(self) -> bool:
        """Commit everything that has finished; ends at the first failure. False where nothing became visible."""
        is_done = False
        for _ in range(REST_ROUNDS_MAX):
            if not self._commit():
                break
            is_done = True
        return is_done

    def _serve(self) -> None:
        try:
            while not self._is_stopping:
                self._wake.wait(self._wait_s())
                self._wake.clear()
                self.turn()
            self.rest()
        except BaseException as exc:  # noqa: BLE001 - handed to the thread that asks `check`
            self._error = exc
        finally:
            with self._turned:
                self._answered_count = self._asked_count
                self._turned.notify_all()

    def _wait_s(self) -> float:
        with self._lock:
            due_count = self._tracker.due_count
        if not due_count:
            return IDLE_WAIT_S
        if self._is_full(due_count):
            return 0.0
        return min(BUSY_WAIT_S, max(0.0, self._due_s() - self._clock.monotonic_s()))

    def _due_s(self) -> float:
        """When the next round is due: after each failure in a row the wait is twice as long."""
        wait_s = min(
            self._interval_s * 2 ** min(self._failure_count, DOUBLINGS_MAX), max(RETRY_MAX_S, self._interval_s)
        )
        return self._last_commit_s + wait_s

    def _is_due(self) -> bool:
        with self._lock:
            due_count, ownership = self._tracker.due_count, self._tracker.ownership
        if ownership != self._ownership:
            self._ownership = ownership
            self._failure_count = 0
        if not due_count:
            return False
        return self._is_full(due_count) or self._clock.monotonic_s() >= self._due_s()

    def _is_full(self, due_count: int) -> bool:
        """Whether a round need not wait for its time; after a failure it does."""
        return due_count >= self._count_max and not self._failure_count

    def _commit(self) -> bool:
        """Make one round visible. False where there is none, or it failed and is kept."""
        with self._lock:
            ownership = self._tracker.ownership
            taken = self._tracker.take(ownership, self._count_max, ROUND_BYTES_MAX) if ownership is not None else None
        started_s = self._clock.monotonic_s()
        if taken is None:
            self._last_commit_s = started_s
            return False
        with self._tracing.commit(taken.offsets[0].topic, taken.results) as span:
            is_done = self._sink.commit(taken.records, taken.offsets, taken.ownership)
            if not is_done:
                span.failed("aborted")
        self._last_commit_s = self._clock.monotonic_s()
        self._metrics.observe(Metric.COMMIT_DURATION, self._last_commit_s - started_s)
        self._end(taken, is_done=is_done)
        return is_done

    def _end(self, taken: Round, *, is_done: bool) -> None:
        with self._lock:
            (self._tracker.applied if is_done else self._tracker.aborted)(taken)
        if not is_done:
            self._failure_count += 1
            logger.info("transaction aborted, results kept", extra={"held_count": taken.count})
            return
        self._failure_count = 0
        self.committed_count += taken.count
        for topic, count in Counter([record.topic for record in taken.records]).items():
            self._metrics.count(Metric.EVENTS_PUBLISHED, count, topic=topic)
        self._on_room()
