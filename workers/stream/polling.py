"""The work of the poll thread: keep the membership, take over partitions, read as much as there is room for.

The thread never waits for processing or for a transaction, so the worker stays in its group whatever they do.
"""

import logging
import threading
from collections.abc import Callable, Sequence

from msgspec import structs

from topology.contract.errors import UnreadableMap
from topology.contract.records import Ownership, PartitionId, PartitionOffset, Receipt, Record
from topology.delivery.tracker import Tracker
from topology.load.limiter import Limiter
from topology.load.record_clock import RecordClock
from topology.ports import Clock, PartitionMemory, Source
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from workers.stream.standstill import Standstill

logger = logging.getLogger("sluicegate.polling")

INTAKE = "intake"
"""The part of a worker that reads: its limit is on the events that are held."""

POLL_TIMEOUT_S = 0.05
"""Longest wait for records. A paused partition is resumed at most this long after there is room."""

FRESH_MAX_S = 5.0
"""Time between two polls after which a record that comes may be older than its way here."""

GAUGES_INTERVAL_S = 1.0
"""Time between two updates of the gauges of lag and windows, whose cost grows with the number of partitions."""

PARTITION_GAUGES = (
    Metric.CONSUMER_LAG,
    Metric.CONSUMER_LAG_SECONDS,
    Metric.WINDOW_FILL,
    Metric.OFFSET_MAP_CHARS,
    Metric.CANARY_RESULT,
)
"""Gauges that end with the ownership of their partition, unlike that of `standstill.py`. The canary's is one: a probe's
events have one partition."""


class Poller:
    """The poll thread's side of the tracker, which `lock` guards.

    `on_work` is called when a record may start, `on_dead` when running records may be dead. `settle` commits what has
    finished, in bounded time; it is called on the source's thread before partitions are revoked. `states` are restored
    before anything of a partition is delivered. `intake` limits how many records are held, without those that
    wait for a model's answer, which `awaiting` counts.
    """

    def __init__(
        self,
        source: Source,
        tracker: Tracker,
        lock: threading.Lock,
        *,
        clock: Clock,
        metrics: Instruments,
        on_work: Callable[[], None],
        on_dead: Callable[[], None],
        settle: Callable[[], object],
        states: PartitionMemory | None = None,
        intake: Limiter,
        awaiting: Callable[[], int],
        record_clock: RecordClock,
    ) -> None:
        self._source = source
        self._intake = intake
        self._awaiting = awaiting
        self._record_clock = record_clock
        self._read_to_end: set[PartitionId] = set()
        """Partitions of which everything had been read: what comes next is fresh. None that is written in transactions,
        whose markers no reader reaches."""
        self._is_skewed = False
        self._tracker = tracker
        self._lock = lock
        self._clock = clock
        self._metrics = metrics
        self._on_work = on_work
        self._on_dead = on_dead
        self._settle = settle
        self._states = states
        self._standstill = Standstill(metrics)
        self._ownership: Ownership | None = None
        self._is_accepting = True
        self._last_gauges_s = clock.monotonic_s() - GAUGES_INTERVAL_S
        self.is_paused = False
        """Whether reading pauses for lack of room."""
        self.last_poll_s = clock.monotonic_s()
        """When the last poll returned."""
        source.on_revoke(self._before_revoke)
        if states is not None:
            source.hold_until(self._is_ready)

    @property
    def is_assigned(self) -> bool:
        """Return whether there is a membership."""
        return self._ownership is not None

    def finish(self) -> None:
        """Accept no more records, but stay in the group."""
        self._is_accepting = False

    def turn(self) -> None:
        """Poll once, and act on what it brings."""
        self._pause()
        polled = self._source.poll(POLL_TIMEOUT_S)
        last_poll_s, self.last_poll_s = self.last_poll_s, self._clock.monotonic_s()
        if self.last_poll_s - last_poll_s > FRESH_MAX_S:
            self._read_to_end.clear()
        records = self._received(polled)
        ownership = self._source.ownership()
        with self._lock:
            is_changed = ownership != self._ownership
            if is_changed:
                self._adopt(ownership)
            positions = self._source.positions()
            for position in positions:
                self._restore(position)
            accepted_count = self._tracker.add(records) if self._is_accepting else 0
        if is_changed or positions:
            self._on_dead()
        if accepted_count:
            self._metrics.count(Metric.EVENTS_CONSUMED, accepted_count, topic=records[0].topic)
        if accepted_count or positions:
            self._on_work()
        if self.last_poll_s - self._last_gauges_s >= GAUGES_INTERVAL_S:
            self._show_gauges()

    def _received(self, polled: Sequence[Record]) -> list[Record]:
        """Return the records with the time at which they were read."""
        now_s, now_ms, fresh = self.last_poll_s, self._clock.now_ms(), self._read_to_end
        received: list[Record] = []
        for record in polled:
            is_fresh = (record.topic, record.partition) in fresh
            read_ms = self._record_clock.read(record.timestamp_ms, now_ms, is_fresh=is_fresh)
            received.append(structs.replace(record, receipt=Receipt(now_s, read_ms)))
        fresh.difference_update([(record.topic, record.partition) for record in polled])
        if self._record_clock.disagrees != self._is_skewed:
            self._is_skewed = self._record_clock.disagrees
            text = "this worker's clock disagrees with records' times" if self._is_skewed else "clocks agree again"
            logger.warning(text, extra={"ahead_s": self._record_clock.skew_s})
        return received

    def _adopt(self, ownership: Ownership | None) -> None:
        """Take over a change of membership. Held records wait in limbo until their partition is restored."""
        self._ownership = ownership
        self._read_to_end.clear()
        for gauge in PARTITION_GAUGES:
            self._metrics.gauge_clear(gauge)
        if ownership is None:
            self._tracker.revoke(self._tracker.assigned)
        else:
            self._tracker.assign(ownership, self._source.assignment())
            if self._states is not None:
                self._states.keep(self._source.assignment())

    def _is_ready(self, position: PartitionOffset) -> bool:
        """Return whether the partition's states are known: its window continues, or its states have been read."""
        with self._lock:
            is_going_on = self._tracker.continues(position)
        return is_going_on or self._states is None or self._states.is_restored(position)

    def _before_revoke(self) -> None:
        """Start nothing more, and commit what has finished while the membership is still valid."""
        with self._lock:
            self._tracker.suspend(self._tracker.assigned)
        self._settle()

    def _restore(self, position: PartitionOffset) -> None:
        if self._states is not None and not self._tracker.continues(position):
            self._states.begin(position)
        try:
            self._tracker.restore(position)
        except UnreadableMap as exc:
            # Reading on from the offset would answer again the records that the map lists as done.
            logger.error(  # noqa: TRY400 - the traceback adds nothing to the fault
                "partition stopped: its committed offset map is unreadable",
                extra={"partition": position.partition, "offset": position.offset, "fault": exc.fault},
            )

    def _pause(self) -> None:
        with self._lock:
            paused, stopped = self._tracker.paused(self._intake.limit, self._awaiting()), self._tracker.stopped
        if not self._is_accepting:
            paused = self._source.assignment()
        self._source.pause(paused)
        if bool(paused - stopped) != self.is_paused:
            self.is_paused = bool(paused - stopped)
            self._metrics.gauge_set(Metric.BACKPRESSURE_PAUSED, int(self.is_paused))

    def _show_gauges(self) -> None:
        """Set the gauges of partitions. The lag of a partition counts records not read yet and records held here."""
        self._last_gauges_s = self.last_poll_s
        now_ms, ends, readable = self._clock.now_ms(), self._source.end_offsets(), self._source.readable_ends()
        with self._lock:
            stats = self._tracker.stats()
        assigned = None if self._ownership is None else self._source.assignment()
        self._standstill.look(self.last_poll_s, assigned, stats.partitions, self._source.caught_up())
        self._metrics.gauge_set(Metric.INFLIGHT_EVENTS, stats.held_count - stats.ready_count)
        self._metrics.gauge_set(Metric.CLOCK_SKEW, self._record_clock.skew_s)
        self._metrics.gauge_set(Metric.CONCURRENCY_LIMIT, self._intake.limit, part=INTAKE)
        self._metrics.gauge_set(Metric.STOPPED_PARTITIONS, len(stats.stopped))
        for window in stats.partitions:
            labels = {"topic": window.topic, "partition": str(window.partition)}
            self._metrics.gauge_set(Metric.WINDOW_FILL, window.fill, **labels)
            self._metrics.gauge_set(Metric.OFFSET_MAP_CHARS, window.map_chars, **labels)
            oldest_ms = window.oldest_timestamp_ms  # None or 0: no record, not delivered again yet, or no timestamp
            waited_s = max(0.0, (now_ms - oldest_ms) / 1000) if oldest_ms else 0.0
            self._metrics.gauge_set(Metric.CONSUMER_LAG_SECONDS, waited_s, **labels)
            place = (window.topic, window.partition)
            if place in ends and window.unread_from >= ends[place] and not self.is_paused:
                self._read_to_end.add(place)
            if place in readable:
                self._metrics.gauge_set(Metric.CONSUMER_LAG, window.lag(readable[place]), **labels)
