"""The states of conversations, held in memory within bounds and restored from the compacted topic.

Nothing of a partition is delivered until they have been read (`restoring`): a turn that is planned without the earlier
ones could be granted detail that they have used up.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from msgspec import Struct

from topology.contract.codec import decode_state, encode, state_wire
from topology.contract.conversation import EMPTY, ConversationState
from topology.contract.headers import Wire
from topology.contract.records import PartitionId, Record, Result
from topology.ports import Clock, ConversationStates
from topology.steps.remembering import Memory, StateBounds
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from workers.kafka.errors import StatesUnreadable
from workers.settings import Settings
from workers.stream.restoring import Restoring, StateSource
from workers.stream.state_reader import StateReader

CANARIES_FIELD = b"canaries"
"""What an encoded state contains, as JSON and as MessagePack, if it remembers a canary."""


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


class TopicConversationStates(Restoring[PartitionStates], ConversationStates):
    """The ConversationStates port on a compacted topic."""

    def __init__(
        self, topic: str, source: StateSource, *, bounds: HeldBounds, wire: Wire, clock: Clock, metrics: Instruments
    ) -> None:
        self._bounds = bounds
        self._wire = wire
        super().__init__(topic, source, name="conversation states", clock=clock, metrics=metrics)

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

    def _empty(self, partition: PartitionId) -> PartitionStates:
        return PartitionStates(self._bounds, self._wire)

    def _take(self, held: PartitionStates, record: Record) -> None:
        if record.key is None:
            return
        conversation_id = record.key.decode("utf-8", "replace")
        if record.value is None:
            held.remove(conversation_id)
            return
        state = _decoded(record)
        if self._clock.now_ms() - state.updated_ms <= self._bounds.ttl_ms:
            held.put(conversation_id, encode(state, self._wire), state.updated_ms)

    def _show(self, owned: Sequence[PartitionStates], pending_count: int) -> None:
        with self._lock:
            evicted_count = self._take_evicted(owned)
            size_bytes = sum(states.size_bytes for states in owned)
        self._metrics.gauge_set(Metric.STATE_CONVERSATIONS, sum(map(len, owned)))
        self._metrics.gauge_set(Metric.STATE_BYTES, size_bytes)
        self._metrics.gauge_set(Metric.STATE_RESTORES_PENDING, pending_count)
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
