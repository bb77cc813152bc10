"""States of conversations in the loop, on the broker in memory: read first, one step ahead of commits, never beyond."""

import asyncio
import threading
from collections.abc import Iterable, Iterator

import pytest

from tests.plugins.memory_loop import INPUT, OUTPUT, WAIT_S, World, running
from tests.plugins.patience import wait_until
from topology.contract.codec import encode
from topology.contract.conversation import EMPTY, ConversationState, UsedCanary
from topology.contract.headers import Wire, response_headers
from topology.contract.names import SchemaName
from topology.contract.records import OutRecord, PartitionOffset, Record, Result
from topology.ports import Rest
from topology.telemetry.instruments import Instruments
from workers.development.memory_broker import FakeBroker, FakeSink, FakeSource, instance_id
from workers.kafka.errors import StatesUnreadable
from workers.process.clock import SystemClock
from workers.stream.conversation_states import HeldBounds, PartitionStates, TopicConversationStates
from workers.stream.loop import Loop

STATE = "state"
NOW_MS = SystemClock().now_ms()
BOUNDS = HeldBounds(conversations_max=1000, bytes_max=1 << 20, ttl_ms=3_600_000)
HEADERS = response_headers(SchemaName.CONVERSATION_STATE, Wire.JSON, ce_id="x", subject="c", time_ms=NOW_MS)


def state(turns: int, updated_ms: int = NOW_MS) -> bytes:
    return encode(ConversationState(turns=turns, updated_ms=updated_ms))


class BrokerStates:
    """The StateSource on the broker in memory. While `is_open` is not set nothing is read; `faults` come first."""

    def __init__(self, broker: FakeBroker) -> None:
        self.broker = broker
        self.is_open = threading.Event()
        self.is_open.set()
        self.faults: list[str] = []
        self.read_count = 0

    def read(self, partition: int) -> Iterable[Record]:
        assert self.is_open.wait(WAIT_S)
        self.read_count += 1
        if self.faults:
            raise StatesUnreadable(self.faults.pop())
        return self._records(partition)

    def _records(self, partition: int) -> Iterator[Record]:
        yield from (record for record in self.broker.records(STATE) if record.partition == partition)

    def close(self) -> None:
        return None


class Counting:
    """Answers with the number of the turn in its conversation, as far as the states know; `held` keys wait."""

    def __init__(self, broker: FakeBroker, bounds: HeldBounds = BOUNDS) -> None:
        self.source = BrokerStates(broker)
        self.metrics = Instruments.none()
        self.states = TopicConversationStates(
            STATE, self.source, bounds=bounds, wire=Wire.JSON, clock=SystemClock(), metrics=self.metrics
        )
        self.started: list[tuple[int, int]] = []
        self.held: set[bytes] = set()

    async def process(self, record: Record, _rest: Rest) -> Result:
        key = record.key or b""
        self.started.append((record.partition, record.offset))
        found = self.states.state_of((record.topic, record.partition), key.decode())
        while key in self.held:  # noqa: ASYNC110 - changed from another thread
            await asyncio.sleep(0.01)
        value = state(found.turns + 1)
        records = (
            OutRecord(topic=STATE, key=key, value=value, headers=HEADERS, partition=record.partition),
            OutRecord(topic=OUTPUT, key=key, value=b"%b %d" % (key, found.turns + 1)),
        )
        return Result(topic=record.topic, partition=record.partition, offset=record.offset, records=records)


def world_of(partitions: int = 1) -> World:
    world = World(partitions)
    world.broker.create_topic(STATE, partitions)
    return world


def loop_of(world: World, counting: Counting, **changes: object) -> Loop:
    return world.loop(counting.process, states=counting.states, **changes)


def answers(world: World) -> list[str]:
    return [(record.value or b"").decode() for record in world.broker.records(OUTPUT)]


def wait_answers(world: World, count: int) -> None:
    wait_until(lambda: len(answers(world)) >= count, WAIT_S)


def test_a_turn_sees_what_the_last_one_left_before_it_is_committed() -> None:
    world = world_of()
    world.send(0, 5, key=b"a")
    world.sink.abort_next()
    with running(loop_of(world, Counting(world.broker))):
        wait_answers(world, 5)
    assert answers(world) == ["a 1", "a 2", "a 3", "a 4", "a 5"]


def test_the_next_owner_goes_on_where_the_last_answer_was_committed() -> None:
    world = world_of()
    world.send(0, 2, key=b"a")
    with running(loop_of(world, Counting(world.broker))):
        wait_answers(world, 2)
    again = World(broker=world.broker)
    world.send(0, 2, key=b"a")
    with running(loop_of(again, Counting(world.broker))):
        wait_answers(world, 4)
    assert answers(world) == ["a 1", "a 2", "a 3", "a 4"]


def test_nothing_is_delivered_before_the_states_are_read_and_polls_go_on() -> None:
    world = world_of()
    world.broker.send(STATE, state(7), key=b"a", headers=HEADERS, partition=0)
    world.send(0, 1, key=b"a")
    counting = Counting(world.broker)
    counting.source.is_open.clear()
    with running(loop_of(world, counting)) as run:
        wait_until(lambda: run.loop.health().assigned, WAIT_S)
        seen: set[float] = set()
        wait_until(lambda: seen.add(run.loop.health().poll_age_s) is None and len(seen) > 10, WAIT_S)
        assert not counting.started
        assert run.loop.health().held_count == 0
        counting.source.is_open.set()
        wait_answers(world, 1)
    assert answers(world) == ["a 8"]


def test_a_partition_whose_states_cannot_be_read_waits_and_others_go_on() -> None:
    world = world_of(2)
    world.broker.send(STATE, b"{broken", key=b"a", headers=HEADERS, partition=0)
    world.send(0, 1, key=b"a")
    world.send(1, 1, key=b"b")
    counting = Counting(world.broker)
    with running(loop_of(world, counting)):
        wait_answers(world, 1)
        wait_until(lambda: counting.source.read_count >= 3, WAIT_S)
        assert answers(world) == ["b 1"]
        world.broker.send(STATE, state(2), key=b"a", headers=HEADERS, partition=0)
        assert counting.started == [(1, 0)]
        counting.source.broker = FakeBroker()  # somebody repaired the topic: the broken record is gone
        wait_answers(world, 2)
    assert answers(world) == ["b 1", "a 1"]


def test_a_failed_read_is_tried_again() -> None:
    world = world_of()
    world.send(0, 1, key=b"a")
    counting = Counting(world.broker)
    counting.source.faults = ["first", "second"]
    with running(loop_of(world, counting)):
        wait_answers(world, 1)
    assert counting.source.read_count == 3


def test_a_partition_that_comes_back_untouched_keeps_its_states_without_reading_them() -> None:
    world = world_of()
    world.send(0, 2, key=b"a")
    counting = Counting(world.broker)
    with running(loop_of(world, counting)):
        wait_answers(world, 2)
        world.broker.rebalance()
        world.send(0, 1, key=b"a")
        wait_answers(world, 3)
    assert answers(world) == ["a 1", "a 2", "a 3"]
    assert counting.source.read_count == 1


def test_what_another_owner_left_is_read_and_what_nobody_saw_is_forgotten() -> None:
    """Of two members the first has the partition; ours is the second, and has it before and after."""
    world = World(1, slot=1)
    world.broker.create_topic(STATE)
    world.send(0, 1, key=b"a")
    counting = Counting(world.broker)
    counting.held = {b"a"}
    with running(loop_of(world, counting)):
        wait_until(lambda: counting.started == [(0, 0)], WAIT_S)
        other = FakeSource(world.broker, INPUT, 0)
        wait_until(lambda: not other.poll(0.01) and other.ownership() is not None, WAIT_S)
        ownership = other.ownership()
        assert ownership is not None
        left = OutRecord(topic=STATE, key=b"a", value=state(40), headers=HEADERS, partition=0)
        done = PartitionOffset(topic=INPUT, partition=0, offset=1)
        assert FakeSink(world.broker, 0).commit((left,), (done,), ownership)
        counting.held = set()
        world.send(0, 1, key=b"a")
        world.broker.expire(instance_id("group", 0))
        wait_answers(world, 1)
    assert answers(world) == ["a 41"]
    assert counting.started == [(0, 0), (0, 1)]


def test_states_are_held_within_their_bounds_and_time() -> None:
    held = PartitionStates(HeldBounds(conversations_max=3, bytes_max=200, ttl_ms=1000), Wire.JSON)
    for number in range(5):
        held.put(f"c{number}", state(number), NOW_MS + number)
    assert (len(held), held.evicted_count) == (3, 2)
    assert [held.get(f"c{number}").turns for number in range(5)] == [0, 0, 2, 3, 4]
    held.put("c2", state(20), NOW_MS + 5)
    held.put("c5", state(5), NOW_MS + 6)
    assert [held.get(f"c{number}").turns for number in (2, 3, 4, 5)] == [20, 0, 4, 5]
    held.put("large", b" " * 190 + state(1), NOW_MS + 7)
    assert len(held) == 0, "one that is larger than everything is not kept"
    held.put("a", state(1), NOW_MS)
    held.put("b", state(2), NOW_MS + 1001)
    assert (len(held), held.size_bytes) == (1, len(state(2)))
    held.remove("b")
    assert (len(held), held.size_bytes) == (0, 0)


@pytest.mark.parametrize("wire", Wire)
def test_a_state_that_remembers_a_canary_stays_while_the_mark_is_valid(wire: Wire) -> None:
    used = UsedCanary(event_id="e", audit_id="a", until_ms=NOW_MS + 10)
    canary = encode(ConversationState(updated_ms=NOW_MS, canaries=(used,)), wire)
    held = PartitionStates(HeldBounds(conversations_max=3, bytes_max=400, ttl_ms=1000), wire)
    held.put("canary", canary, NOW_MS)
    for number in range(9):
        held.put(f"c{number}", encode(ConversationState(turns=number), wire), NOW_MS + 1)
    assert (len(held), held.get("canary").canaries) == (3, (used,))
    held.put("late", encode(ConversationState(turns=1), wire), NOW_MS + 11)
    assert (len(held), held.get("canary").canaries) == (3, ())


def test_states_of_before_their_time_are_not_restored() -> None:
    world = world_of()
    world.broker.send(STATE, state(7, NOW_MS - BOUNDS.ttl_ms - 60_000), key=b"a", headers=HEADERS, partition=0)
    world.broker.send(STATE, state(5), key=b"b", headers=HEADERS, partition=0)
    world.broker.send(STATE, None, key=b"b", headers=HEADERS, partition=0)
    world.send(0, 1, key=b"a")
    world.send(0, 1, key=b"b")
    with running(loop_of(world, Counting(world.broker))):
        wait_answers(world, 2)
    assert sorted(answers(world)) == ["a 1", "b 1"]


def test_states_written_in_another_form_are_read() -> None:
    """The setting `topics.wire` may change between two starts."""
    broker = FakeBroker()
    broker.send(STATE, state(5), key=b"a", headers=HEADERS, partition=0)
    states = TopicConversationStates(
        STATE, BrokerStates(broker), bounds=BOUNDS, wire=Wire.MSGPACK, clock=SystemClock(), metrics=Instruments.none()
    )
    position = PartitionOffset(topic=INPUT, partition=0, offset=0)
    wait_until(lambda: states.is_restored(position), WAIT_S)
    states.begin(position)
    assert states.state_of((INPUT, 0), "a").turns == 5
    packed = encode(ConversationState(turns=6), Wire.MSGPACK)
    left = OutRecord(topic=STATE, key=b"a", value=packed, partition=0)
    states.finished(Result(topic=INPUT, partition=0, offset=0, records=(left,)))
    assert states.state_of((INPUT, 0), "a").turns == 6
    states.keep([])
    assert states.state_of((INPUT, 0), "a") == EMPTY
    states.close()


def test_a_window_never_begins_with_states_that_were_not_read() -> None:
    counting = Counting(FakeBroker())
    position = PartitionOffset(topic=INPUT, partition=0, offset=3)
    with pytest.raises(RuntimeError, match="partition 0 at 3 were not read"):
        counting.states.begin(position)
    wait_until(lambda: counting.states.is_restored(position), WAIT_S)
    with pytest.raises(RuntimeError, match="at 4 were not read"):
        counting.states.begin(PartitionOffset(topic=INPUT, partition=0, offset=4))
    counting.states.close()
