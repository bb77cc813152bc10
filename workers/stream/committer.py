"""The committer: makes finished records visible, one transaction after the other, on a thread of its own.

Each round takes finished records in order of completion, and commits responses, audit records and the consumed
positions together. No transaction is open between rounds. The results of a failed transaction are kept for the next
one. The poll thread never waits for a transaction, so a worker whose transactions fail stays in its group.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable

from topology.contract.records import Ownership, Record, Result
from topology.delivery.tracker import Round, Tracker
from topology.ports import Clock, Sink
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from topology.telemetry.tracing import Tracing
from workers.kafka.errors import RecordTooLarge
from workers.process.clock import backoff_s
from workers.settings import LimitSettings

logger = logging.getLogger("sluicegate.committer")

RETRY_MAX_S = 2.0
"""Longest wait after a failed transaction. The wait doubles from the commit interval, so the sink's bound on failures
in a row is reached after some 13 s. A rebalance, in whose last moments the generation is stale, is noticed sooner."""

IDLE_WAIT_S = 0.05
"""Longest wait for something to commit, if nobody calls `wake`."""

BUSY_WAIT_S = 0.01
"""Longest wait while results are ready, so the longest delay until a full transaction is noticed."""

ROUND_BYTES_MAX = 32 << 20
"""Bytes of the results in one transaction; a single larger result has one of its own."""

REST_ROUNDS_MAX = 10_000
"""Bound on the rounds after processing has ended; the tracker's bounds allow far fewer."""

GiveUp = Callable[[Record, str, int], Result]
"""A function from a record, a topic and the bytes that the topic does not take, to the record's dead letter."""


class Committer:
    """The thread that commits. `lock` guards `tracker`; `on_room` is called after a round has made room in it.

    A result that is too large for its topic is replaced by what `give_up` returns; without it, the thread ends.

    The sink is called by the thread that `start` begins, or by the caller of `turn` instead.
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
        give_up: GiveUp | None = None,
    ) -> None:
        self._sink = sink
        self._letter_of = give_up
        self._single_count = 0
        """Results that have rounds of their own, because one of them is too large."""
        self._given_up: tuple[str, int, int] | None = None
        """The record whose result was replaced last."""
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
        """Start the thread."""
        self._thread.start()

    def check(self) -> None:
        """Raise what ended the thread."""
        if self._error is not None:
            raise self._error

    def stop(self, timeout_s: float) -> bool:
        """Commit what has finished and end the thread. Return False if that took longer than `timeout_s`."""
        self._is_stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def wake(self) -> None:
        """Look at once whether a round is due, such as when nothing else is under way. From any thread."""
        self._wake.set()

    def settle(self, timeout_s: float) -> bool:
        """Wait until everything that has finished by now is committed. May be called from any other thread.

        Return False if a round failed, nobody commits any more, or `timeout_s` was too short: the results stay held.
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
        """Commit one round if it is due, or everything if `settle` waits. Return False if nothing became visible."""
        asked = self._asked_count
        if asked == self._answered_count:
            return self._is_due() and self._commit()
        is_done = self.rest()
        with self._turned:
            self._answered_count = asked
            self._turned.notify_all()
        return is_done

    def rest(self) -> bool:
        """Commit everything that has finished, until a round fails. Return False if nothing became visible."""
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
        except BaseException as exc:  # noqa: BLE001 - handed to the thread that calls `check`
            self._error = exc
        finally:
            with self._turned:
                self._answered_count = self._asked_count
                self._turned.notify_all()

    def _wait_s(self) -> float:
        with self._lock:
            due_count, is_all = self._tracker.due_count, self._tracker.is_all_due
        if not due_count:
            return IDLE_WAIT_S
        if self._may_not_wait(due_count, is_all=is_all):
            return 0.0
        return min(BUSY_WAIT_S, max(0.0, self._due_s() - self._clock.monotonic_s()))

    def _due_s(self) -> float:
        """Return when the next round is due; the wait doubles after each failure in a row."""
        longest_s = max(RETRY_MAX_S, self._interval_s)
        return self._last_commit_s + backoff_s(self._interval_s, self._failure_count, longest_s)

    def _is_due(self) -> bool:
        with self._lock:
            due_count, is_all, ownership = self._tracker.due_count, self._tracker.is_all_due, self._tracker.ownership
        if ownership != self._ownership:
            self._ownership = ownership
            self._failure_count = 0
        if not due_count:
            return False
        return self._may_not_wait(due_count, is_all=is_all) or self._clock.monotonic_s() >= self._due_s()

    def _may_not_wait(self, due_count: int, *, is_all: bool) -> bool:
        """Return whether a round is not to wait for its time: it is full, or nothing else is under way.

        After a failure every round waits. A busy worker always has something under way, so it commits in full rounds.
        """
        return (is_all or due_count >= self._count_max) and not self._failure_count

    def _commit(self) -> bool:
        """Make one round visible. Return False if there is none, or if it failed and is kept."""
        with self._lock:
            ownership = self._tracker.ownership
            taken = self._tracker.take(ownership, self._round_max, ROUND_BYTES_MAX) if ownership is not None else None
        started_s = self._clock.monotonic_s()
        if taken is None:
            self._last_commit_s = started_s
            return False
        with self._tracing.commit(taken.offsets[0].topic, taken.results) as span:
            refused = None
            try:
                is_done = self._sink.commit(taken.records, taken.offsets, taken.ownership)
            except RecordTooLarge as exc:
                is_done, refused = False, exc
            if not is_done:
                span.failed("aborted")
        self._last_commit_s = self._clock.monotonic_s()
        self._metrics.observe(Metric.COMMIT_DURATION, self._last_commit_s - started_s)
        self._end(taken, is_done=is_done)
        if refused is not None:
            self._give_up(taken, refused)
        return is_done

    @property
    def _round_max(self) -> int:
        return 1 if self._single_count else self._count_max

    def _give_up(self, taken: Round, refused: RecordTooLarge) -> None:
        """Replace the result that holds the record which was refused. Raises `refused` if it is a letter already.

        While it is not known which result that is, give each its own round.
        """
        if refused.index is None and taken.count > 1:
            self._single_count = taken.count
            return
        owners = [result for result in taken.results for _ in result.records]
        result = owners[refused.index or 0]
        place = (result.topic, result.partition, result.offset)
        if self._letter_of is None or place == self._given_up:
            raise refused
        self._given_up, letter_of = place, self._letter_of
        about = {"topic": refused.topic, "size": refused.size_bytes, "partition": place[1], "offset": place[2]}
        logger.error("a result is too large for its topic: the event ends as a dead letter", extra=about)
        with self._lock:
            self._tracker.replace(result, lambda record: letter_of(record, refused.topic, refused.size_bytes))

    def _end(self, taken: Round, *, is_done: bool) -> None:
        with self._lock:
            (self._tracker.applied if is_done else self._tracker.aborted)(taken)
        if not is_done:
            self._failure_count += 1
            logger.info("transaction aborted, results kept", extra={"held_count": taken.count})
            return
        self._failure_count = 0
        self._single_count = max(0, self._single_count - 1)
        self.committed_count += taken.count
        for topic, count in Counter([record.topic for record in taken.records]).items():
            self._metrics.count(Metric.EVENTS_PUBLISHED, count, topic=topic)
        self._on_room()
