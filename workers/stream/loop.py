"""The loop of a stream worker: consume, process and publish, on three threads around one tracker.

The thread that calls `run` polls Kafka and owns the consumer. A second thread has the event loop on which records are
processed, at most `in_flight_max` at once and one at a time of each key. A third thread owns the producer and makes
results visible together with the consumed position. The metadata of that position lists what has finished above it, so
no key waits for another key's commit. Records in flight continue across a rebalance that returns their partition.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from msgspec import Struct

from topology.contract.records import PartitionId
from topology.delivery.partition_window import Line
from topology.delivery.tracker import Tracker, TrackerLimits
from topology.delivery.turns import OldestFirst, Turns
from topology.load.limiter import Limiter, LimiterBounds
from topology.load.record_clock import RecordClock
from topology.ports import Clock, ConversationStates, PartitionMemory, Sink, Source, TenantUses
from topology.telemetry.instruments import Instruments
from topology.telemetry.tracing import Tracing
from workers.settings import LimitSettings
from workers.stream.cancellations import Cancellations
from workers.stream.committer import Committer, GiveUp
from workers.stream.polling import Poller
from workers.stream.processing import Close, Process, Processing
from workers.stream.quarantine import Quarantine
from workers.stream.restoring import Together

logger = logging.getLogger("sluicegate.loop")

STOP_TIMEOUT_S = 5.0
"""Bound on ending the processing thread once nothing is awaited any more."""

REST_TIMEOUT_S = 60.0
"""Bound on the last transactions; each has one of its own, `kafka.commit_timeout_s`."""

HELD_PER_RUNNING = 2
"""The fewest events held for each that may run. Reading resumes at half of a bound, so all permits stay in use."""

UNFINISHED_SHOWN_MAX = 50
"""Positions named in the log when a drain leaves records unfinished."""


class LoopState(StrEnum):
    """A phase in the life of a loop."""

    STARTING = "starting"
    RUNNING = "running"
    DRAINING = "draining"
    STOPPED = "stopped"
    FAILED = "failed"


class LoopHealth(Struct, frozen=True, kw_only=True):
    """A snapshot for probes. `poll_age_s` is how long ago the last poll returned."""

    state: LoopState
    poll_age_s: float
    held_count: int
    ready_count: int
    committed_count: int
    paused: bool
    assigned: bool
    stopped_count: int = 0
    """Partitions whose committed offset map is unreadable: none of their records is processed until it is repaired."""


@dataclass(frozen=True, slots=True)
class Tenancy:
    """What a worker knows of tenants and their clients.

    What tenants used, if that is counted; whose line starts next; and which clients have gone, if doors say so.
    `streams` is told of the partitions that are owned, if answers are streamed.
    """

    uses: TenantUses | None = None
    turns: Callable[[], Turns[Line]] = OldestFirst[Line]
    departures: Cancellations | None = None
    streams: PartitionMemory | None = None


NO_TENANCY = Tenancy()


class Loop:
    """The loop that moves records from a source through `process` into a sink."""

    _state: LoopState
    _drain_until_s: float | None

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
        quarantine: Quarantine | None = None,
        states: ConversationStates | None = None,
        give_up: GiveUp | None = None,
        tenancy: Tenancy = NO_TENANCY,
    ) -> None:
        uses, self._departures = tenancy.uses, tenancy.departures
        self._source, self._sink, self._clock = source, sink, clock
        memories = [memory for memory in (states, uses, self._departures, tenancy.streams) if memory is not None]
        self._memory = Together(memories) if memories else None
        self._lock = threading.Lock()
        self._tracker = tracker = Tracker(tracker_limits(limits), tenancy.turns)
        intake = intake_limiter(limits)
        self._processing = Processing(
            process,
            tracker,
            self._lock,
            clock=clock,
            limits=limits,
            close=close,
            quarantine=quarantine,
            states=states,
            intake=intake,
            uses=uses,
            on_all_done=lambda: self._committer.wake(),  # noqa: PLW0108 - the committer is built after it
        )
        self._committer = Committer(
            sink,
            tracker,
            self._lock,
            clock=clock,
            limits=limits,
            metrics=metrics,
            tracing=tracing,
            on_room=self._processing.wake,
            give_up=give_up,
        )
        self._poller = self._build_poller(limits, metrics, intake)
        self._state = LoopState.STARTING
        self._drain_until_s: float | None = None

    def _build_poller(self, limits: LimitSettings, metrics: Instruments, intake: Limiter) -> Poller:
        return Poller(
            self._source,
            self._tracker,
            self._lock,
            clock=self._clock,
            metrics=metrics,
            on_work=self._processing.wake,
            on_dead=self._processing.cancel_dead,
            settle=lambda: self._committer.settle(limits.revoke_timeout_s),
            states=self._memory,
            intake=intake,
            awaiting=lambda: self._processing.awaiting_count,
            record_clock=RecordClock(limits.clock_skew_max_s),
        )

    def run(self) -> None:
        """Work until drained. Raises what ended it: a bug in `process`, or a source or sink that cannot continue."""
        self._processing.start()
        self._committer.start()
        if self._departures is not None:
            self._departures.start(self._is_unfinished)
        if self._drain_until_s is None:
            self._state = LoopState.RUNNING
        try:
            while not self._is_done():
                self._turn()
            self._processing.stop(STOP_TIMEOUT_S)
            self._list_unfinished()
            self._committer.stop(REST_TIMEOUT_S)
            self._committer.check()
            self._state = LoopState.STOPPED
        except BaseException:
            self._state = LoopState.FAILED
            raise
        finally:
            self._close()

    def drain(self, timeout_s: float) -> None:
        """Have `run` finish and commit what is held within `timeout_s`, and then return. From any thread.

        A record that does not finish in time stays incomplete in the committed map, and the next owner reads it again.
        """
        if self._state in {LoopState.STARTING, LoopState.RUNNING}:
            self._state = LoopState.DRAINING
        self._drain_until_s = self._clock.monotonic_s() + timeout_s

    def health(self) -> LoopHealth:
        """Return a snapshot. From any thread."""
        with self._lock:
            held_count, ready_count = self._tracker.held_count, self._tracker.ready_count
            stopped_count = len(self._tracker.stopped)
        return LoopHealth(
            state=self._state,
            poll_age_s=self._clock.monotonic_s() - self._poller.last_poll_s,
            held_count=held_count,
            ready_count=ready_count,
            committed_count=self._committer.committed_count,
            paused=self._poller.is_paused,
            assigned=self._poller.is_assigned,
            stopped_count=stopped_count,
        )

    def _turn(self) -> None:
        self._processing.check()
        self._committer.check()
        if self._drain_until_s is not None:
            self._poller.finish()
        self._poller.turn()

    def _is_done(self) -> bool:
        if self._drain_until_s is None:
            return False
        with self._lock:
            held_count = self._tracker.held_count
        return not held_count or self._clock.monotonic_s() >= self._drain_until_s

    def _is_unfinished(self, partition: PartitionId, offset: int) -> bool:
        with self._lock:
            return self._tracker.is_unfinished(partition, offset)

    def _list_unfinished(self) -> None:
        """Log the records that did not finish in time; the next owner reads them again."""
        with self._lock:
            left = self._tracker.unfinished()
        if left:
            shown = [f"{topic}/{partition}@{offset}" for topic, partition, offset in left[:UNFINISHED_SHOWN_MAX]]
            logger.warning(
                "drained with events unfinished: the next owner reads them again",
                extra={"count": len(left), "events": shown},
            )

    def _close(self) -> None:
        """End the threads, then close the clients that they own."""
        self._processing.stop(STOP_TIMEOUT_S)
        self._committer.stop(STOP_TIMEOUT_S)
        self._source.close()
        self._sink.close()
        if self._memory is not None:
            self._memory.close()


def tracker_limits(limits: LimitSettings) -> TrackerLimits:
    """Return the tracker's bounds from settings."""
    return TrackerLimits(
        count_max=limits.queue_events_max,
        bytes_max=limits.queue_bytes_max,
        incomplete_max=limits.window_events_max,
        map_chars_max=limits.offset_map_chars_max,
    )


def intake_limiter(limits: LimitSettings) -> Limiter:
    """Return the limiter of what a worker holds, by how long events wait for their turn."""
    least = min(limits.queue_events_max, HELD_PER_RUNNING * limits.in_flight_max)
    return Limiter(LimiterBounds(least=least, most=limits.queue_events_max, slow_s=limits.wait_slow_s), start=least)
