"""States of conversations in the simulation: what a turn was planned with is what its committed predecessors left.

S1: when an answer becomes visible, the state beside it names exactly the answers of its key that are visible up to it.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from tests.simulation.census import STATE, Answered, Place
from tests.simulation.scheduling import Process
from topology.contract.codec import decode_state, encode
from topology.contract.conversation import ConversationState, SeenEvent
from topology.contract.headers import Wire, response_headers
from topology.contract.names import SchemaName
from topology.contract.records import OutRecord, Record

if TYPE_CHECKING:
    from tests.simulation.world import World

HEADERS = response_headers(SchemaName.CONVERSATION_STATE, Wire.JSON, ce_id="s", subject="s", time_ms=0)
FAILED_SHARE = 0.1
"""Of reads: the states cannot be had."""
READ_S = 0.2
"""A read takes up to that long."""


def with_answer(found: ConversationState, record: Record) -> OutRecord:
    """The state after a turn: one more answer."""
    seen = SeenEvent(event_id=str(record.offset), audit_id="")
    state = ConversationState(turns=found.turns + 1, events=(*found.events, seen))
    return OutRecord(topic=STATE, key=record.key, value=encode(state), headers=HEADERS, partition=record.partition)


class Ledger:
    """The state topic. `fail` is called with what is wrong."""

    def __init__(self, fail: Callable[[str], None]) -> None:
        self._fail = fail
        self._sent: list[tuple[int, bytes, bytes]] = []
        self.committed: dict[int, list[tuple[bytes, bytes]]] = {}
        self.count = 0

    def send(self, partition: int, key: bytes, value: bytes) -> tuple[str, Place]:
        """What stands for a record in the broker's log: a topic of its own, and the input that it belongs to."""
        self._sent.append((partition, key, value))
        offset = int(decode_state(value, Wire.JSON).events[-1].event_id)
        return f"{STATE}/{len(self._sent) - 1}", (partition, offset)

    def commit(self, topic: str, answered: Answered) -> None:
        """A record became visible; `answered` has the visible answers of each key, in order."""
        partition, key, value = self._sent[int(topic.partition("/")[2])]
        self.committed.setdefault(partition, []).append((key, value))
        self.count += 1
        told = [int(seen.event_id) for seen in decode_state(value, Wire.JSON).events]
        visible = [offset for _, offset in answered[partition, key] if offset <= told[-1]]
        if told != visible:
            self._fail(f"S1: {partition}@{told[-1]} was planned after {told[:-1]}, visible are {visible[:-1]}")


class LedgerReader:
    """The StateSource of one process: slow, and not always there."""

    def __init__(self, world: "World", process: Process, errors: Any) -> None:
        self._world = world
        self._process = process
        self._errors = errors

    def read(self, partition: int) -> Iterator[Record]:
        self._world.scheduler.sleep(self._world.rng.random() ** 3 * READ_S)
        if self._world.rng.random() < FAILED_SHARE:
            raise self._errors.StatesUnreadable("as it happens")
        for offset, (key, value) in enumerate(self._world.ledger.committed.get(partition, [])):
            yield Record(
                topic=STATE, partition=partition, offset=offset, timestamp_ms=0, key=key, value=value, headers=HEADERS
            )

    def close(self) -> None:
        return None
