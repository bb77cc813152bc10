"""What stands in for the worker's event loop: results after a while of virtual time, in any order.

I12: a result of an ownership that is over changes nothing. I4: of each key one at a time.
"""

from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tests.simulation.remembered import with_answer
from topology.contract.conversation import ConversationState
from topology.contract.records import OutRecord, Record, Result

if TYPE_CHECKING:
    from tests.simulation.world import World

WAKE_S = 0.0005


def answer(record: Record, state: OutRecord | None = None) -> Result:
    """One answer and one audit record, which name the place they answer, and perhaps a state."""
    value = record.value or b""
    records = (
        OutRecord(topic="audit", key=record.key, value=value),
        OutRecord(topic="out", key=record.key, value=value),
        *([] if state is None else [state]),
    )
    return Result(topic=record.topic, partition=record.partition, offset=record.offset, records=records)


def processing_module(find_world: Callable[[], "World"]) -> ModuleType:
    """What the loop imports as `workers.stream.processing`."""

    def make(*given: Any, **named: Any) -> Work:
        return Work(find_world(), given, named)

    module = ModuleType("workers.stream.processing")
    module.__dict__.update(Process=object, Close=object, Processing=make)
    return module


class Work:
    """As `workers.stream.processing.Processing`."""

    def __init__(self, world: "World", given: tuple[Any, ...], named: dict[str, Any]) -> None:
        _, self._tracker, self._lock, *_ = given
        self._world = world
        self._process = world.scheduler.current.process
        self._in_flight_max: int = named["limits"].in_flight_max
        self._states: Any = named.get("states")
        self._found: dict[int, ConversationState] = {}
        """What a running item's turn began with."""
        self._running: dict[int, Any] = {}
        self._newest: dict[tuple[int, int], Any] = {}
        """By place, under which token it was handed out last."""
        self._of_key: dict[tuple[int, bytes], Any] = {}
        self._count = 0
        self._is_fill_due = self._is_ended = False

    @property
    def awaiting_count(self) -> int:
        """No model answers here."""
        return 0

    def start(self) -> None:
        return None

    def check(self) -> None:
        return None

    def wake(self) -> None:
        if not self._is_fill_due:
            self._is_fill_due = True
            self._soon(WAKE_S * self._world.rng.random(), self._fill)

    def cancel_dead(self) -> None:
        self._soon(WAKE_S * self._world.rng.random(), self._cancel_dead)

    def stop(self, timeout_s: float) -> None:
        self._is_ended = True

    def _soon(self, after_s: float, action: Callable[[], None]) -> None:
        self._world.scheduler.call_at(self._world.scheduler.now_s + after_s, action, self._process)

    def _fill(self) -> None:
        self._is_fill_due = False
        if self._is_ended:
            return
        with self._lock:
            items = self._tracker.next_to_start(max(0, self._in_flight_max - len(self._running)))
        for item in items:
            self._check_start(item)
            self._count += 1
            number = self._count
            self._running[number] = item
            if self._states is not None and item.record.key is not None:
                place = (item.record.topic, item.record.partition)
                self._found[number] = self._states.state_of(place, item.record.key.decode())
            self._soon(self._world.work_s(), lambda number=number: self._finish(number))

    def _finish(self, number: int) -> None:
        item, found = self._running.pop(number, None), self._found.pop(number, None)
        if item is None or self._is_ended:
            return
        self._world.pass_by("finish", self._process)
        if self._process.is_dead:
            return
        self._take(item, answer(item.record, None if found is None else with_answer(found, item.record)))
        self._fill()

    def _take(self, item: Any, result: Result) -> None:
        tracker, fail = self._tracker, self._world.scheduler.fail
        with self._lock:
            before = tracker.ready_count, tracker.running_count
            is_taken = tracker.finish(item, result)
            if is_taken and self._states is not None:
                self._states.finished(result)
            after = tracker.ready_count, tracker.running_count
        place = item.record.partition, item.record.offset
        if not is_taken:
            self._world.counts.dead_results += 1
            if before != after:
                fail(f"I12: a dead result of {place} changed something")
            return
        if self._newest[place] != item.token:
            fail(f"I12: a result of {place} was taken under a token that is over")
        ownership = tracker.ownership
        if ownership is None or ownership.member_id != item.token.member_id:
            fail(f"I5: a result of {place} was taken for another member")
        if item.record.key is not None:
            self._of_key.pop((item.record.partition, item.record.key), None)

    def _check_start(self, item: Any) -> None:
        place, key = (item.record.partition, item.record.offset), item.record.key
        if self._newest.get(place) == item.token:
            self._world.scheduler.fail(f"I12: {place} was handed out twice under one token")
        self._newest[place] = item.token
        consumer = self._world.consumers.get(self._process)
        if consumer is not None and consumer.has_given_up:
            self._world.scheduler.fail(f"I12: {place} was started while its partition was given up")
        if key is None:
            return
        other = self._of_key.get((place[0], key))
        if other is not None and self._tracker.is_live(other):
            self._world.scheduler.fail(f"I4: two of one key run at once: {place}")
        self._of_key[place[0], key] = item

    def _cancel_dead(self) -> None:
        """Most of them: some finish before they hear of it."""
        for number, item in list(self._running.items()):
            if not self._tracker.is_live(item) and self._world.rng.random() < 0.5:
                del self._running[number]
        self.wake()
