"""The states of conversations, held in memory within bounds and restored from the compacted topic.

A partition's states are read on a thread of their own while the poll thread stays in the group. Nothing of the
partition is delivered until they are there. A failed read is counted, logged and tried again, and the partition stays
undelivered: a turn that is planned without the earlier ones could be granted detail that they have used up.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable
from typing import Protocol

from msgspec import Struct

from topology.contract.codec import decode_state, encode, state_wire
from topology.contract.conversation import EMPTY, ConversationState
from topology.contract.headers import Wire
from topology.contract.records import PartitionId, PartitionOffset, Record, Result
from topology.ports import Clock, ConversationStates
from topology.steps.remembering import Memory, StateBounds
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from workers.kafka.errors import StatesUnreadable
from workers.settings import Settings
from workers.stream.state_reader import StateReader

logger = logging.getLogger("sluicegate.states")

TURN_S = 1.0
"""Time between two updates of the gauges, and before a failed read is tried again."""

STOP_TIMEOUT_S = 5.0

CANARIES_FIELD = b"canaries"
"""What an encoded state contains, as JSON and as MessagePack, if it remembers a canary."""


class StateSource(Protocol):
    """A place that states are read from. All calls are on one thread."""

    def read(self, partition: int) -> Iterable[Record]:
        """Return all committed states of a partition number, oldest first. Raises StatesUnreadable."""
        ...

    def close(self) -> None:
        """Release what it holds."""
        ...


class HeldBounds(Struct, frozen=True, kw_only=True):
    """Bounds on one partition's states: conversations, encoded bytes, milliseconds since a conversation's last turn."""

    conversations_max: int
    bytes_max: int
    ttl_ms: int


class PartitionStates:
    """The encoded states of one partition's conversations. If they exceed the bounds, the longest idle are dropped.

    One that remembers a canary stays while the mark is valid: nobody but the platform makes these, and who writes many
    conversations must not make a canary new.
    """

    def __init__(self, bounds: HeldBounds, wire: Wire) -> None:
        self._bounds = bounds
        self._wire = wire
        self._held: OrderedDict[str, tuple[bytes, int]] = OrderedDict()
        """Value and time of the last turn by conversation id, the oldest first."""
        self._kept_until_ms: dict[str, int] = {}
        """The end of the last canary's mark by conversation id, for those that have one."""
        self.size_bytes = 0
        self.evicted_count = 0

    def __len__(self) -> int:
        return len(self._held)

    def get(self, conversation_id: str) -> ConversationState:
        """Return the state of one conversation; empty if none is held."""
        found = self._held.get(conversation_id)
        return EMPTY if found is None else decode_state(found[0], self._wire)

    def put(self, conversation_id: str, value: bytes, updated_ms: int) -> None:
        """Hold a state in place of the conversation's older one, and drop the states that expired by `updated_ms`."""
        self.remove(conversation_id)
        self._held[conversation_id] = value, updated_ms
        self.size_bytes += len(value)
        if CANARIES_FIELD in value:  # decoding every state would cost more than keeping it
            marks = [used.until_ms for used in decode_state(value, self._wire).canaries]
            self._kept_until_ms[conversation_id] = max(marks, default=0)
        while self._oldest_ms() < updated_ms - self._bounds.ttl_ms:
            self.remove(next(iter(self._held)))
        while len(self._held) > self._bounds.conversations_max or self.size_bytes > self._bounds.bytes_max:
            idle = next((name for name in self._held if self._kept_until_ms.get(name, 0) < updated_ms), None)
            if idle is None:
                break
            self.remove(idle)
            self.evicted_count += 1

    def remove(self, conversation_id: str) -> None:
        """Forget a conversation, if it is held."""
        found = self._held.pop(conversation_id, None)
        self._kept_until_ms.pop(conversation_id, None)
        if found is not None:
            self.size_bytes -= len(found[0])

    def _oldest_ms(self) -> int:
        return next(iter(self._held.values()))[1]


class TopicConversationStates:
    """The ConversationStates port on a compacted topic. `source` is read on a thread of its own."""

    def __init__(
        self, topic: str, source: StateSource, *, bounds: HeldBounds, wire: Wire, clock: Clock, metrics: Instruments
    ) -> None:
        self._topic = topic
        self._source = source
        self._bounds = bounds
        self._wire = wire
        self._clock = clock
        self._metrics = metrics
        self._lock = threading.Lock()
        self._owned: dict[PartitionId, PartitionStates] = {}
        self._wanted: dict[PartitionId, PartitionOffset] = {}
        self._restored: dict[PartitionId, tuple[PartitionOffset, PartitionStates]] = {}
        self._wake = threading.Event()
        self._is_stopping = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._serve, name="states", daemon=True)
        self._thread.start()

    def state_of(self, partition: PartitionId, conversation_id: str) -> ConversationState:
        """See `ConversationStates.state_of`. Empty if the partition is not owned: then the record is no longer live."""
        with self._lock:
            states = self._owned.get(partition)
            return EMPTY if states is None else states.get(conversation_id)

    def finished(self, result: Result) -> None:
        """See `ConversationStates.finished`."""
        for record in result.records:
            if record.topic == self._topic and record.key is not None and record.value is not None:
                with self._lock:
                    states = self._owned[result.topic, result.partition]
                    states.put(record.key.decode(), record.value, self._clock.now_ms())

    def is_restored(self, position: PartitionOffset) -> bool:
        """See `ConversationStates.is_restored`. Raises what ended the thread that reads."""
        if self._error is not None:
            raise self._error
        partition = (position.topic, position.partition)
        with self._lock:
            found = self._restored.get(partition)
            if found is not None and found[0] == position:
                return True
            # Another member may have committed since an older position was read, and written states with it.
            is_new = self._wanted.get(partition) != position
            self._wanted[partition] = position
        if is_new:
            self._wake.set()
        return False

    def begin(self, position: PartitionOffset) -> None:
        """See `ConversationStates.begin`."""
        partition = (position.topic, position.partition)
        with self._lock:
            found_at, states = self._restored.pop(partition, (None, None))
            if states is None or found_at != position:
                raise RuntimeError(f"the states of partition {position.partition} at {position.offset} were not read")
            self._owned[partition] = states
            self._wanted.pop(partition, None)

    def keep(self, partitions: Collection[PartitionId]) -> None:
        """See `ConversationStates.keep`."""
        with self._lock:
            for held in (self._owned, self._wanted, self._restored):
                for partition in held.keys() - set(partitions):
                    del held[partition]

    def close(self) -> None:
        """See `ConversationStates.close`. Waits at most STOP_TIMEOUT_S for the thread."""
        self._is_stopping = True
        self._wake.set()
        self._thread.join(STOP_TIMEOUT_S)

    def _serve(self) -> None:
        try:
            while not self._is_stopping:
                self._wake.wait(TURN_S)
                self._wake.clear()
                for position in self._pending():
                    self._restore(position)
                self._show()
        except BaseException as exc:  # noqa: BLE001 - handed to the thread that calls `is_restored`
            self._error = exc
        finally:
            self._source.close()

    def _pending(self) -> list[PartitionOffset]:
        with self._lock:
            found = {partition: position for partition, (position, _) in self._restored.items()}
            return [position for partition, position in self._wanted.items() if found.get(partition) != position]

    def _restore(self, position: PartitionOffset) -> None:
        """Read one partition, and keep its states if they are still wanted. A failed read is left for the next turn."""
        if self._is_stopping:
            return
        started_s, about = self._clock.monotonic_s(), {"topic": self._topic, "partition": position.partition}
        states = PartitionStates(self._bounds, self._wire)
        try:
            for record in self._source.read(position.partition):
                self._take(states, record)
        except StatesUnreadable as exc:
            self._metrics.count(Metric.STATE_RESTORE_FAILURES)
            logger.error(  # noqa: TRY400 - the traceback adds nothing to the reason
                "partition not delivered: its conversation states could not be read",
                extra={**about, "reason": exc.reason},
            )
            return
        partition = (position.topic, position.partition)
        with self._lock:
            if self._wanted.get(partition) == position:
                self._restored[partition] = position, states
        took_s = round(self._clock.monotonic_s() - started_s, 3)
        logger.info("conversation states read", extra={**about, "count": len(states), "seconds": took_s})

    def _take(self, states: PartitionStates, record: Record) -> None:
        if record.key is None:
            return
        conversation_id = record.key.decode("utf-8", "replace")
        if record.value is None:
            states.remove(conversation_id)
            return
        state = _decoded(record)
        if self._clock.now_ms() - state.updated_ms <= self._bounds.ttl_ms:
            states.put(conversation_id, encode(state, self._wire), state.updated_ms)

    def _show(self) -> None:
        with self._lock:
            owned = list(self._owned.values())
            evicted_count = self._take_evicted(owned)
        self._metrics.gauge_set(Metric.STATE_CONVERSATIONS, sum(map(len, owned)))
        self._metrics.gauge_set(Metric.STATE_BYTES, sum(states.size_bytes for states in owned))
        self._metrics.gauge_set(Metric.STATE_RESTORES_PENDING, len(self._pending()))
        if evicted_count:
            self._metrics.count(Metric.STATE_EVICTIONS, evicted_count)

    @staticmethod
    def _take_evicted(owned: Iterable[PartitionStates]) -> int:
        count = 0
        for states in owned:
            count += states.evicted_count
            states.evicted_count = 0
        return count


def open_states(settings: Settings, clock: Clock, metrics: Instruments) -> TopicConversationStates | None:
    """Return the states of the state topic; None if settings switch them off."""
    topic, state = settings.topics.state, settings.state
    if not state.enabled:
        return None
    bounds = HeldBounds(
        conversations_max=state.conversations_max, bytes_max=state.partition_bytes_max, ttl_ms=state.ttl_s * 1000
    )
    reader = StateReader(settings.kafka, topic, state.restore_timeout_s)
    wire = Wire(settings.topics.wire)
    return TopicConversationStates(topic, reader, bounds=bounds, wire=wire, clock=clock, metrics=metrics)


def memory_of(settings: Settings, states: ConversationStates) -> Memory:
    """Return what a pipeline needs to read states and to change them."""
    state = settings.state
    bounds = StateBounds(
        ttl_ms=state.ttl_s * 1000,
        bytes_max=state.conversation_bytes_max,
        events_max=state.events_max,
        answers_at_ceiling_max=state.answers_at_ceiling_max,
        canary_age_max_ms=int(settings.canary.age_max_s * 1000),
    )
    return Memory(states=states, bounds=bounds)


def _decoded(record: Record) -> ConversationState:
    """Return the state that a record holds. Raises StatesUnreadable, whose text has nothing of the value."""
    try:
        return decode_state(record.value or b"", state_wire(record.headers))
    except ValueError as exc:
        raise StatesUnreadable(f"offset {record.offset}: {exc}") from None
